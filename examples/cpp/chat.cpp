/*
 * A chat with an instruction-tuned model, line by line:
 *
 *     chat MODEL [SYSTEM [TEMPLATE]]
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     c++ -std=c++17 examples/cpp/chat.cpp -o chat $(pkg-config --cflags --libs pumice)
 *     ./chat model.gguf "You are a helpful assistant."
 *
 * Each turn writes the whole conversation with the model's chat template, or with TEMPLATE. What of it the session has
 * been fed already, all but the last question, is not computed again.
 */

#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <pumice.hpp>

/// Keeps as much of what the session was fed as the conversation begins with; gives how much that is.
static std::size_t reuse(pumice::Session &session, const std::vector<pumice::Token> &conversation)
{
    const std::vector<pumice::Token> fed = session.tokens();
    const auto same = std::mismatch(fed.begin(), fed.end(), conversation.begin(), conversation.end()).second;
    // One token has to be fed, for its logits.
    const auto kept = std::min(static_cast<std::size_t>(same - conversation.begin()), conversation.size() - 1);
    session.truncate(kept);
    return kept;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        std::cerr << "usage: " << argv[0] << " MODEL [SYSTEM [TEMPLATE]]\n";
        return 2;
    }
    try {
        const pumice::Model model = pumice::Model::open(argv[1]);
        pumice::Session session = pumice::Session::create(model);
        pumice::Options options;
        options.temperature(0.2).repeat_penalty(1.1).max_tokens(300);
        pumice::Sampler sampler = pumice::Sampler::create(model, options);
        const std::optional<std::string> chat_template =
            argc > 3 ? std::optional<std::string>(argv[3]) : std::optional<std::string>();
        std::vector<pumice::Message> messages;
        if (argc > 2 && *argv[2] != 0)
            messages.push_back({"system", argv[2]});

        std::string line;
        while (std::cout << "> " << std::flush && std::getline(std::cin, line)) {
            messages.push_back({"user", line});
            const std::string text = model.chat_format(messages, true, chat_template);
            const std::vector<pumice::Token> tokens =
                model.tokenize(text, pumice::add_special | pumice::parse_special);
            const std::size_t kept = reuse(session, tokens);

            std::string answer;
            const pumice::Tokens rest(tokens.data() + kept, tokens.size() - kept);
            session.generate(sampler, rest, options, [&answer](std::string_view piece) {
                std::cout << piece << std::flush;
                answer += piece;
            });
            std::cout << std::endl;
            std::cerr << '(' << tokens.size() << " tokens, " << kept << " of them kept)\n";
            messages.push_back({"assistant", answer});
        }
    } catch (const pumice::Error &error) {
        std::cerr << pumice::name(error.status()) << ": " << error.message() << '\n';
        return 1;
    }
}
