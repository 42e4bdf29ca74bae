/*
 * Writes on from a prompt, text as it comes:
 *
 *     stream MODEL PROMPT [MAX_TOKENS [TEMPERATURE [SEED]]]
 *
 * Build and run, from the top of the repository:
 *
 *     make install PREFIX=/tmp/pumice
 *     export PKG_CONFIG_PATH=/tmp/pumice/lib/pkgconfig LD_LIBRARY_PATH=/tmp/pumice/lib
 *     c++ -std=c++17 examples/cpp/stream.cpp -o stream $(pkg-config --cflags --libs pumice)
 *     ./stream cli/model/austen.gguf "It was a fine morning, and" 60
 */

#include <iostream>
#include <string>
#include <string_view>

#include <pumice.hpp>

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::cerr << "usage: " << argv[0] << " MODEL PROMPT [MAX_TOKENS [TEMPERATURE [SEED]]]\n";
        return 2;
    }
    try {
        // One set of options serves all calls: each reads its own.
        pumice::Options options;
        options.max_tokens(argc > 3 ? std::stoi(argv[3]) : 100);
        if (argc > 4)
            options.temperature(std::stod(argv[4]));
        if (argc > 5)
            options.seed(std::stoll(argv[5]));

        const pumice::Model model = pumice::Model::open(argv[1], options);
        pumice::Session session = pumice::Session::create(model, options);
        pumice::Sampler sampler = pumice::Sampler::create(model, options);
        // A callback that throws, or returns false, ends the generation. (Session::stream has the text as a range.)
        session.generate(sampler, model.tokenize(argv[2]), options, [](std::string_view text) {
            std::cout << text << std::flush;
            return std::cout.good();
        });
        std::cout << '\n';
    } catch (const pumice::Error &error) {
        std::cerr << pumice::name(error.status()) << ": " << error.message() << '\n';
        return 1;
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
