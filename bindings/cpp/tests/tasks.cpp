// What a model is good for besides text: how likely continuations are.

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
}
