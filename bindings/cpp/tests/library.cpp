// The library itself: versions, features, its description; options and errors.

#include "check.hpp"

using namespace pumice;

int main()
{
    CHECK(version_number() == PUMICE_VERSION_NUMBER);
    CHECK(std::string(version()) == PUMICE_VERSION_STRING);
    CHECK(has_feature("arch:llama") && !has_feature("arch:nothing"));
    const std::string text = describe();
    CHECK(text.size() > 1000 && text.front() == '{' && text.back() == '}');
    CHECK(std::string(name(Status::io)) == "PUMICE_ERR_IO");

    // Every typed setter has the key and the type that the library has.
    Options options;
    options.mmap(true).n_ctx(64).threads(std::size_t{1}).chunk(8L).kernels("scalar");
    options.temperature(0.5).temperature(1).top_k(3).top_p(0.9).min_p(0).repeat_penalty(1.1).frequency_penalty(0.1);
    options.presence_penalty(0.1).penalty_last_n(9u).seed(~0ull).max_tokens(3).stop("a").stop("b").special(true);
    options.set_int(PUMICE_KEY_MODEL_MMAP, 0).set_float(PUMICE_KEY_SAMPLER_TOP_P, 1).unset(PUMICE_KEY_GENERATE_STOP);
    options.set_string(PUMICE_KEY_SESSION_KERNELS, std::string_view("auto.", 4));
    CHECK(options.get() != nullptr && !options.error());

    // What the compiler refuses: floats and truth values for numbers, numbers for truth values.
    static_assert(std::is_convertible_v<int, detail::Integer> && std::is_convertible_v<unsigned long, detail::Integer>);
    static_assert(!std::is_convertible_v<double, detail::Integer> && !std::is_convertible_v<bool, detail::Integer>);
    static_assert(!std::is_convertible_v<int, detail::Truth> && !std::is_convertible_v<const char *, detail::Truth>);
    static_assert(!std::is_copy_constructible_v<Options> && std::is_nothrow_move_constructible_v<Options>);

    FAILS(invalid, options.n_ctx(-1));
    FAILS(invalid, options.temperature(-0.5));
    FAILS(unknown_key, options.set_int("session.n_ctz", 1));
    FAILS(wrong_type, options.set_float(PUMICE_KEY_SESSION_N_CTX, 1));
    FAILS(utf8, options.stop("\xff"));
    FAILS(unknown_key, options.unset("nothing"));
    try {
        options.set_int("session.n_ctz", 1);
    } catch (const std::exception &error) {
        CHECK(std::string(error.what()).find("session.n_ctz") != std::string::npos);
    }

    Options moved = std::move(options);
    moved.n_ctx(32);
    options = std::move(moved);
    options.n_ctx(16);

    // Views come from whatever has elements.
    const Token array[] = {1, 2, 3};
    const std::vector<Token> vector = {4, 5};
    const auto sum = [](Tokens tokens) {
        Token all = 0;
        for (const Token token : tokens)
            all += token;
        return all;
    };
    CHECK(sum(array) == 6 && sum(vector) == 9 && sum({7, 8}) == 15 && sum(Tokens(array, 2)) == 3 && sum({}) == 0);
    CHECK(Tokens(vector)[1] == 5 && Tokens().empty() && Tokens(vector).size() == 2);

    // Bytes become whole characters, as Rust's own decoder has it.
    detail::Characters characters;
    CHECK(characters.push("a\xc3").append("|") == "a|" && characters.push("\xa4\xf0\x9f").append("|") == "\xc3\xa4|");
    CHECK(characters.push("\xa6").empty() && characters.push("\x99z") == "\xf0\x9f\xa6\x99z");
    CHECK(characters.push("\xe2\x82").empty() && characters.finish() == "\xef\xbf\xbd" && characters.finish().empty());
    CHECK(characters.push("\xe2\x82" "a\x80\xc0\xaf") == "\xef\xbf\xbd" "a" "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    CHECK(characters.push("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); // a surrogate
    CHECK(characters.push("\xe0\x80\xf4\x90\xf5") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    CHECK(characters.finish().empty());
}
