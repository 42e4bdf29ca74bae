// What a model is good for besides text: how likely continuations are, texts as vectors, classes of texts.

#include "check.hpp"

#include <cmath>

using namespace pumice;

/// The logarithm of a token's probability, by output 0.
static double logprob(Session &session, Token token)
{
    const View<float> logits = session.logits();
    double sum = 0;
    for (const float logit : logits)
        sum += std::exp(static_cast<double>(logit) - static_cast<double>(logits[static_cast<std::size_t>(token)]));
    return -std::log(sum);
}

/// A number as a GGUF file has it.
template <class T>
static std::string bytes(T value)
{
    return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}
static std::string text(const std::string &value) { return bytes<std::uint64_t>(value.size()) + value; }

/// A classification head of one class, "high": the sum of the last hidden state.
static void write_head(const std::string &path, std::size_t n_embd)
{
    std::string file = "GGUF" + bytes<std::uint32_t>(3) + bytes<std::uint64_t>(1) + bytes<std::uint64_t>(2);
    file += text("general.architecture") + bytes<std::uint32_t>(8) + text("llama");
    file += text("llama.classifier.output_labels") + bytes<std::uint32_t>(9) + bytes<std::uint32_t>(8);
    file += bytes<std::uint64_t>(1) + text("high");
    file += text("cls.output.weight") + bytes<std::uint32_t>(2) + bytes<std::uint64_t>(n_embd);
    file += bytes<std::uint64_t>(1) + bytes<std::uint32_t>(0) + bytes<std::uint64_t>(0);
    file.resize((file.size() + 31) / 32 * 32);
    for (std::size_t i = 0; i < n_embd; i++)
        file += bytes(1.0f);
    std::ofstream(path, std::ios::binary) << file;
}

/// The final hidden states of a text, one after the other.
static std::vector<float> hidden_states(const Model &model, Tokens tokens)
{
    Session session = Session::create(model, Options().threads(1).embeddings(true));
    Batch batch;
    batch.add(0, tokens, Outputs::all);
    session.decode(batch);
    std::vector<float> out;
    for (std::size_t i = 0; i < tokens.size(); i++) {
        const View<float> row = session.embedding(i);
        out.insert(out.end(), row.begin(), row.end());
    }
    return out;
}

static void vectors_and_classes(const Model &plain, const std::string &path, Tokens tokens, char **argv)
{
    const std::vector<float> rows = hidden_states(plain, tokens);
    const std::size_t n_embd = rows.size() / tokens.size();
    const std::vector<float> last(rows.end() - static_cast<std::ptrdiff_t>(n_embd), rows.end());
    Session session = Session::create(plain, Options().threads(1).n_ctx(64).pooling("last").normalize(false));
    session.decode({1, 2, 3});
    CHECK(session.embed(tokens) == last);
    CHECK(session.tokens().size() == 3 && session.output_count() == 0);
    session.configure(Options().pooling("none"));
    CHECK(session.embed(tokens) == rows);
    session.configure(Options().pooling("auto").normalize(true));
    const std::vector<float> mean = session.embed(tokens);
    double length = 0;
    for (const float x : mean)
        length += static_cast<double>(x) * static_cast<double>(x);
    CHECK(mean.size() == n_embd && std::fabs(length - 1) < 1e-5);
    FAILS(invalid, session.embed({}));
    FAILS(context_full, session.embed(std::vector<Token>(65, 1)));
    FAILS(invalid, Options().pooling("median"));

    CHECK(plain.labels().empty());
    FAILS(invalid, session.classify(tokens));
    write_head(path, n_embd);
    const Model model = Model::open(argv[1], Options().head(path));
    CHECK(model.labels() == std::vector<std::string>{"high"} && model.get_int("n_labels") == 1);
    Session judge = Session::create(model, Options().threads(1));
    const std::vector<float> scores = judge.classify(tokens);
    double sum = 0;
    for (const float x : last)
        sum += static_cast<double>(x);
    CHECK(scores.size() == 1 && std::fabs(static_cast<double>(scores[0]) - sum) < 1e-4);
    FAILS(io, Model::open(argv[1], Options().head("/nowhere.gguf")));
}

int main(int, char **argv)
{
    const Model model = Model::open(argv[1]);
    const std::vector<Token> prompt = model.tokenize("It was a fine morning, and");
    const std::vector<Token> good = model.tokenize(" she walked", 0), odd = model.tokenize(" zebra", 0);
    Session session = Session::create(model, Options().threads(1).n_ctx(64));

    const std::vector<double> scores = session.score(prompt, {good, {}, odd});
    CHECK(scores.size() == 3 && scores[0] > scores[2] && scores[1] == 0 && scores[2] < 0);
    CHECK(session.tokens() == prompt && session.output_count() == 0);
    session.truncate(prompt.size() - 1);
    session.decode({prompt.back()});
    double sum = 0;
    for (const Token token : good) {
        sum += logprob(session, token);
        session.decode({token});
    }
    CHECK(std::fabs(sum - scores[0]) < 1e-4);
    CHECK(session.score(prompt, {}).empty());

    FAILS(invalid, session.score({}, {good}));
    FAILS(invalid, session.score(prompt, {{1, -1}}));
    FAILS(context_full, session.score(prompt, {std::vector<Token>(64, 1)}));
    CHECK(session.tokens() == prompt);

    vectors_and_classes(model, std::string(argv[0]) + ".gguf", prompt, argv);
}
