// States: saved, loaded into another session, and refused.

#include "check.hpp"

using namespace pumice;

int main([[maybe_unused]] int count, [[maybe_unused]] char **argv)
{
    const Model model = Model::open(argv[1]);
    const std::vector<Token> tokens = model.tokenize("It was a fine morning, and");
    Session session = Session::create(model);
    session.decode(tokens);
    const std::vector<unsigned char> state = session.save_state();
    CHECK(!state.empty());

    // Feeding the last token again brings its logits back.
    const auto logits = [&](Session &other) {
        other.truncate(tokens.size() - 1);
        other.decode({tokens.back()});
        const View<float> view = other.logits();
        return std::vector<float>(view.begin(), view.end());
    };
    const std::vector<float> expected = logits(session);
    Session other = Session::create(model);
    other.load_state(state);
    CHECK(other.tokens() == tokens && other.output_count() == 0);
    CHECK(logits(other) == expected);

    const std::vector<unsigned char> one = session.save_state(0);
    other.load_state(one, 5);
    CHECK(other.tokens(5) == tokens);
    FAILS(format, other.load_state({1, 2, 3}));
    FAILS(format, other.load_state(View<unsigned char>(state.data(), state.size() - 1)));
    CHECK(other.tokens(5) == tokens);

    const std::string path = std::string(argv[0]) + ".state";
    session.save_state_file(path);
    other.reset();
    other.load_state_file(path);
    CHECK(logits(other) == expected);
    CHECK(std::remove(path.c_str()) == 0);
    FAILS(io, other.load_state_file(path));
    FAILS(io, session.save_state_file("/nowhere/x"));
}
