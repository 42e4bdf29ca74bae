// Models: opening, sharing, numbers, metadata, vocabulary.

#include "check.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

using namespace pumice;

static_assert(std::is_copy_constructible_v<Model> && std::is_nothrow_move_constructible_v<Model>);

int main(int, char **argv)
{
    const Model model = Model::open(argv[1], Options().mmap(false));
    FAILS(io, Model::open("/nowhere.gguf"));
    FAILS(utf8, Model::open("\xff"));
    FAILS(format, Model::open(__FILE__));

    CHECK(model.get_int("n_vocab") > 100 && model.get_string("arch") == "llama");
    FAILS(not_found, model.get_int("nothing"));
    FAILS(not_found, model.get_string("nothing"));

    // Metadata: each key is found under its own name.
    const std::size_t keys = model.meta_count();
    CHECK(keys > 5);
    bool found = false;
    for (std::size_t i = 0; i < keys; i++) {
        const std::string key(model.meta_key(i));
        const MetaType type = model.meta_type(key);
        CHECK(type.array || type.count == 1);
        if (key == "general.architecture") {
            CHECK(type.element == PUMICE_META_STRING && !type.array && model.meta_string(key) == "llama");
            found = true;
        }
    }
    CHECK(found);
    FAILS(not_found, model.meta_key(keys));
    const MetaType names = model.meta_type("tokenizer.ggml.tokens");
    CHECK(names.array && names.element == PUMICE_META_STRING);
    CHECK(static_cast<std::int64_t>(names.count) == model.get_int("n_vocab"));
    CHECK(model.meta_string("tokenizer.ggml.tokens", 3) == model.token_text(3));
    CHECK(model.meta_int("llama.block_count") == model.get_int("n_layer"));
    CHECK(model.meta_float("llama.attention.layer_norm_rms_epsilon") > 0);
    FAILS(wrong_type, model.meta_int("general.architecture"));
    FAILS(not_found, model.meta_float("nothing"));

    // The vocabulary. Text may hold NUL, and need not end with one.
    const std::string text = "It was a fine morning";
    const std::vector<Token> tokens = model.tokenize(text);
    CHECK(tokens.size() > 2 && model.detokenize(tokens) == text);
    CHECK(model.tokenize(std::string_view(text).substr(0, 6)) == std::vector<Token>(model.tokenize("It was")));
    CHECK(model.tokenize("").size() <= 1 && model.detokenize({}).empty());
    const std::optional<Token> eos = model.special_token("eos");
    CHECK(eos && (model.token_flags(*eos) & PUMICE_TOKEN_END) != 0);
    CHECK(model.detokenize({*eos}).empty() && model.detokenize({*eos}, true) == model.token_text(*eos));
    CHECK(model.tokenize(model.token_text(*eos), parse_special) == std::vector<Token>{*eos});
    CHECK(!model.special_token("fim_pre"));
    FAILS(not_found, model.special_token("nothing"));
    FAILS(utf8, model.tokenize("\xff"));
    FAILS(invalid, model.token_text(-1));
    FAILS(invalid, model.tokenize("x", 64));

    // Memory is given back once, when the last user is gone, wherever that is.
    const std::vector<unsigned char> file = bytes_of(argv[1]);
    int drops = 0;
    {
        auto lent = std::make_unique<Model>(Model::open_memory(file, [&drops] { drops++; }));
        auto copy = std::make_unique<Model>(*lent);
        CHECK(copy->get() == lent->get());
        const Session session = Session::create(*lent);
        lent.reset();
        CHECK(drops == 0 && copy->get_int("n_vocab") == model.get_int("n_vocab"));
        std::thread([&copy] { copy.reset(); }).join();
        CHECK(drops == 0 && session.model().get_string("arch") == "llama");
    }
    CHECK(drops == 1);
    FAILS(format, Model::open_memory(View<unsigned char>(file.data(), 99), [&drops] { drops++; }));
    CHECK(drops == 2);
    Model owned = Model::open_memory(std::vector<unsigned char>(file));
    CHECK(owned.tokenize(text) == tokens);
    owned = model;
    CHECK(owned.get() == model.get() && Model::open_memory(file).tokenize(text) == tokens);
    owned = *&owned; // to itself
    CHECK(owned.get_string("arch") == "llama");

    // Bytes that a function reads; the header only, if that is enough.
    const auto read = [&file](std::uint64_t offset, void *to, std::size_t len) {
        std::memcpy(to, file.data() + offset, len);
    };
    CHECK(Model::open_reader(read, file.size()).tokenize(text) == tokens);
    std::uint64_t most = 0;
    const Model head = Model::open_reader(
        [&](std::uint64_t offset, void *to, std::size_t len) {
            most = std::max(most, offset + len);
            read(offset, to, len);
            return true;
        },
        file.size(), Options().metadata_only(true));
    CHECK(most < file.size() / 2 && head.tokenize(text) == tokens);
    FAILS(invalid, Session::create(head));
    const auto no = [](std::uint64_t, void *, std::size_t) { return false; };
    FAILS(cancelled, Model::open_reader(no, file.size()));
    try {
        Model::open_reader([](std::uint64_t, void *, std::size_t) { throw 7; }, file.size());
        CHECK(false);
    } catch (int number) {
        CHECK(number == 7);
    }
    CHECK(Model::open(argv[1], Options().preload(true)).tokenize(text) == tokens);

    // A log lives as long as whatever was made with it.
    auto lines = std::make_shared<int>(0);
    {
        Options logged;
        logged.log(PUMICE_LOG_DEBUG, [lines](std::int32_t level, std::string_view line) {
            CHECK(level >= PUMICE_LOG_ERROR && level <= PUMICE_LOG_DEBUG && !line.empty());
            ++*lines;
            throw 1; // is lost
        });
        std::optional<Model> told(Model::open(argv[1], logged));
        CHECK(*lines > 0 && lines.use_count() == 2);
        logged = Options();
        CHECK(lines.use_count() == 2);
        told.reset();
    }
    CHECK(lines.use_count() == 1);

    // Several threads at once.
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] {
            for (int j = 0; j < 50; j++)
                CHECK(model.tokenize(text) == tokens);
            FAILS(not_found, model.get_int("nothing"));
        });
    for (std::thread &thread : threads)
        thread.join();
}
