// Samplers: seeds, biases, penalties, copies.

#include "check.hpp"

#include <limits>

using namespace pumice;

static_assert(!std::is_copy_constructible_v<Sampler> && std::is_nothrow_move_constructible_v<Sampler>);

int main(int, char **argv)
{
    const Model model = Model::open(argv[1]);
    Session session = Session::create(model);
    session.decode(model.tokenize("It was a fine morning, and"));
    const Token best = session.top_logprobs(1).at(0).token;

    Sampler greedy = Sampler::create(model, Options().temperature(0));
    CHECK(greedy.sample(session) == best && greedy.sample(session.logits()) == best);
    greedy.set_bias({best}, {-std::numeric_limits<float>::infinity()});
    CHECK(greedy.sample(session) == session.top_logprobs(2).at(1).token);
    greedy.set_bias({}, {});
    CHECK(greedy.sample(session) == best);
    FAILS(null, greedy.set_bias({best}, {}));
    FAILS(null, greedy.set_bias({}, {1.0f}));
    FAILS(mismatch, greedy.sample({1.0f, 2.0f}));
    FAILS(not_found, greedy.sample(session, 9));
    FAILS(invalid, greedy.accept(-1));

    Sampler penalized = Sampler::create(model, Options().temperature(0).presence_penalty(100));
    penalized.accept(best);
    CHECK(penalized.sample(session) != best);
    penalized.reset();
    CHECK(penalized.sample(session) == best);

    // The same seed, the same draws; a copy goes on alike.
    const auto draws = [&](Sampler &sampler) {
        std::vector<Token> out;
        for (int i = 0; i < 20; i++)
            out.push_back(sampler.sample(session));
        return out;
    };
    Options hot;
    hot.temperature(2).seed(7);
    Sampler first = Sampler::create(model, hot), second = Sampler::create(model, hot);
    const std::vector<Token> drawn = draws(first);
    CHECK(drawn == draws(second) && drawn != draws(second));
    Sampler copy = first.clone();
    CHECK(draws(copy) == draws(first));
    Sampler moved = std::move(copy);
    moved.reset();
    CHECK(draws(moved) == drawn);
}
