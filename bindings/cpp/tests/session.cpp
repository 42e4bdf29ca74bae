// Sessions and batches: what is fed, its outputs, and what is forgotten.

#include "check.hpp"

using namespace pumice;

static_assert(!std::is_copy_constructible_v<Session> && std::is_nothrow_move_constructible_v<Session>);
static_assert(!std::is_copy_constructible_v<Batch> && std::is_nothrow_move_constructible_v<Batch>);

static std::vector<float> copy(View<float> logits) { return std::vector<float>(logits.begin(), logits.end()); }

int main(int, char **argv)
{
    const Model model = Model::open(argv[1]);
    const std::vector<Token> tokens = model.tokenize("It was a fine morning, and");
    const Tokens all = tokens, head(tokens.data(), 3), tail(tokens.data() + 3, tokens.size() - 3);
    Session session = Session::create(model, Options().threads(2).n_ctx(64));
    CHECK(session.get_int("n_ctx") == 64 && session.get_int("threads") == 2 && session.model().get() == model.get());
    FAILS(not_found, session.get_int("nothing"));
    FAILS(not_found, session.logits());

    session.decode(all);
    CHECK(session.tokens() == tokens && session.tokens(7).empty() && session.output_count() == 1);
    CHECK(static_cast<std::int64_t>(session.logits().size()) == model.get_int("n_vocab"));
    const std::vector<float> expected = copy(session.logits());
    const std::vector<TokenLogprob> top = session.top_logprobs(5);
    CHECK(top.size() == 5 && top[0].logprob > top[4].logprob && top[0].logprob < 0);
    for (const float logit : expected)
        CHECK(expected[static_cast<std::size_t>(top[0].token)] >= logit);
    FAILS(not_found, session.top_logprobs(5, 1));
    CHECK(session.get_int("perf.prompt_tokens") == static_cast<std::int64_t>(tokens.size()));
    session.perf_reset();
    CHECK(session.get_int("perf.prompt_tokens") == 0);

    // Another way to the same logits; several sequences in a batch.
    session.truncate(3);
    session.decode(tail);
    CHECK(copy(session.logits()) == expected);
    Batch batch;
    batch.add(1, head, Outputs::none);
    batch.add(2, all, Outputs::all);
    batch.add(1, tail);
    session.decode(batch);
    CHECK(session.output_count() == tokens.size() + 1 && session.tokens(1) == tokens && session.tokens(2) == tokens);
    CHECK(copy(session.logits(tokens.size() - 1)) == expected && copy(session.logits(tokens.size())) == expected);
    session.truncate(0, 2);
    CHECK(session.tokens(2).empty() && session.tokens(1) == tokens);
    batch.clear();
    batch.add(3, {tokens[0]});
    session.decode(batch);
    CHECK(session.output_count() == 1 && session.tokens(3).size() == 1);

    FAILS(invalid, batch.add(-1, all));
    FAILS(invalid, session.decode({-5}));
    FAILS(context_full, session.decode(std::vector<Token>(65, tokens[0])));
    CHECK(session.tokens() == tokens);
    session.cancel(); // nothing to cancel
    session.decode(head);

    // A fork goes on as the sequence that it came from.
    session.truncate(tokens.size());
    session.truncate(0, 1);
    session.fork(0, 1, 3);
    CHECK(session.tokens(1) == std::vector<Token>(head.begin(), head.end()) && session.tokens() == tokens);
    batch.clear();
    batch.add(1, tail);
    session.decode(batch);
    CHECK(copy(session.logits()) == expected);
    FAILS(invalid, session.fork(0, 1, tokens.size() + 1));

    // Changing how it runs changes no result; what it may take is what is said beforehand.
    session.configure(Options().threads(1).chunk(2));
    CHECK(session.get_int("threads") == 1 && session.get_int("chunk") == 2);
    FAILS(invalid, session.configure(Options().n_ctx(65)));
    FAILS(invalid, session.embedding());
    session.truncate(0);
    session.decode(all);
    CHECK(copy(session.logits()) == expected);
    Options small;
    small.n_ctx(64).threads(1).chunk(4);
    const std::int64_t total = model.memory("total", small);
    CHECK(total == model.memory("kv", small) + model.memory("scratch", small) + model.memory("weights", small));
    FAILS(not_found, model.memory("nothing"));
    Session limited = Session::create(model, small.memory_limit(1000).embeddings(true));
    FAILS(no_memory, limited.decode(all));
    limited.configure(Options().memory_limit(total));
    limited.decode(all);
    CHECK(copy(limited.logits()) == expected);
    CHECK(static_cast<std::int64_t>(limited.embedding().size()) == model.get_int("n_embd"));
    FAILS(not_found, limited.embedding(1));

    Session moved = std::move(session);
    moved.reset();
    CHECK(moved.tokens().empty() && moved.tokens(1).empty());
    session = std::move(moved);
    session.decode(all);
    CHECK(copy(session.logits()) == expected);
    FAILS(invalid, session.decode(Tokens()));
}
