// Generations: text by a callback and by a range, and every way to stop them.

#include "check.hpp"

#include <stdexcept>
#include <thread>

using namespace pumice;

struct Stopped {
    int where;
};

int main(int, char **argv)
{
    const Model model = Model::open(argv[1]);
    const std::vector<Token> prompt = model.tokenize("It was a fine morning, and");
    Session session = Session::create(model, Options().n_ctx(128));
    Sampler sampler = Sampler::create(model, Options().temperature(0.8).seed(3).repeat_penalty(1.3));
    const auto again = [&] {
        session.reset();
        sampler.reset();
    };

    // The whole text, by a callback that returns nothing.
    std::string text;
    Options options;
    options.max_tokens(40);
    const auto append = [&text](std::string_view piece) { text += piece; };
    CHECK(session.generate(sampler, prompt, options, append) == Finish::length);
    CHECK(text.size() > 40);
    CHECK(session.tokens().size() == prompt.size() + 39);

    // With the tokens; the library's own detokenizer makes the same text of them.
    again();
    std::vector<Token> tokens;
    std::string same;
    session.generate(sampler, prompt, options, [&](std::string_view piece, Tokens news) {
        same += piece;
        tokens.insert(tokens.end(), news.begin(), news.end());
        return true;
    });
    CHECK(same == text && tokens.size() == 40 && model.detokenize(tokens) == text);

    // A range has the same text, and the session the same tokens, wherever the loop breaks off.
    again();
    std::string pulled;
    Stream stream = session.stream(sampler, prompt);
    for (std::string_view piece : stream) {
        CHECK(!piece.empty());
        pulled += piece;
        if (pulled.size() >= text.size())
            break;
    }
    CHECK(pulled == text && !stream.finish() && session.tokens().size() == prompt.size() + 39);

    // To the end of the context, both ways; what the loop finds after its end is nothing.
    again();
    text.clear();
    const Finish finish = session.generate(sampler, prompt, append);
    const std::vector<Token> fed = session.tokens();
    again();
    pulled.clear();
    Stream whole = session.stream(sampler, prompt);
    for (std::string_view piece : whole)
        pulled += piece;
    CHECK(pulled == text && whole.finish() == finish && session.tokens() == fed);
    CHECK(whole.begin() == whole.end());

    // A stop text.
    again();
    Options stop;
    const std::string word = text.substr(text.size() / 2, 5);
    stop.stop(word);
    const std::string before = text.substr(0, text.find(word));
    text.clear();
    CHECK(session.generate(sampler, prompt, stop, append) == Finish::stop && text == before);

    // A callback that has had enough; one that throws: both leave the session usable.
    again();
    int calls = 0;
    CHECK(session.generate(sampler, prompt, [&calls](std::string_view) { return ++calls < 3; }) == Finish::callback);
    CHECK(calls == 3);
    again();
    try {
        session.generate(sampler, prompt, [&](std::string_view) { throw Stopped{1}; });
        CHECK(false);
    } catch (const Stopped &stopped) {
        CHECK(stopped.where == 1);
    }

    // Progress, told by options that have moved; false is an error there, and what it throws comes out.
    again();
    std::uint64_t done = 0, total = 0;
    Options told;
    told.max_tokens(2).progress([&](std::uint64_t d, std::uint64_t t) { done = d, total = t; });
    const Options told_moved = std::move(told);
    session.generate(sampler, prompt, told_moved, append);
    CHECK(done == prompt.size() && total == prompt.size());
    again();
    FAILS(cancelled, session.generate(sampler, prompt,
        Options().progress([](std::uint64_t, std::uint64_t) { return false; }), append));
    try {
        session.generate(sampler, prompt,
            Options().progress([](std::uint64_t, std::uint64_t) { throw std::runtime_error("progress"); }), append);
        CHECK(false);
    } catch (const std::runtime_error &error) {
        CHECK(std::string(error.what()) == "progress");
    }

    // From within a callback: other calls, failing ones too, and the session, which is busy.
    again();
    calls = 0;
    session.generate(sampler, prompt, options, [&](std::string_view) {
        calls++;
        CHECK(!model.tokenize("x").empty());
        FAILS(not_found, model.get_int("nothing"));
        FAILS(busy, session.tokens());
    });
    CHECK(calls > 10);

    // Cancelled from another thread, as soon as it has begun.
    again();
    FAILS(cancelled, session.generate(sampler, prompt, [&](std::string_view) {
        std::thread([&] { session.cancel(); }).join();
    }));

    // Errors come out of ranges too.
    again();
    FAILS(invalid, for (std::string_view piece : session.stream(sampler, {})) text += piece);
    session.decode(std::vector<Token>(128, prompt[0]));
    FAILS(context_full, for (std::string_view piece : session.stream(sampler, prompt)) text += piece);
}
