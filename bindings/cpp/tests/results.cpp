// Without exceptions, every failure is in a Result.

#define PUMICE_NO_EXCEPTIONS
#include "check.hpp"

using namespace pumice;

int main(int, char **argv)
{
    const Result<Model> missing = Model::open("/nowhere.gguf");
    CHECK(!missing && missing.status() == Status::io && missing.error().status() == Status::io);
    CHECK(missing.error().message().find("/nowhere.gguf") != std::string::npos);

    const auto model = Model::open(argv[1]);
    CHECK(model && model.ok() && model.status() == Status::ok);
    CHECK(*model->get_string("arch") == "llama" && model->get_int("nothing").status() == Status::not_found);
    CHECK(model->get_int("nothing").value_or(7) == 7 && model->get_int("n_layer").value_or(-1) > 0);

    // A setter's error is kept, and comes out of the calls that are given the options.
    Options wrong;
    wrong.n_ctx(-1).set_int("nothing", 1).temperature(0.5);
    CHECK(wrong.error() && wrong.error()->status() == Status::invalid);
    CHECK(Session::create(*model, wrong).status() == Status::invalid);
    CHECK(Sampler::create(*model, wrong).status() == Status::invalid);
    CHECK(Model::open(argv[1], wrong).status() == Status::invalid);

    auto session = Session::create(*model, Options().n_ctx(64));
    auto sampler = Sampler::create(*model, Options().temperature(0));
    const auto prompt = model->tokenize("It was a fine morning, and");
    CHECK(session && sampler && prompt);
    CHECK(session->decode({-1}).status() == Status::invalid && session->decode(*prompt).ok());
    CHECK(session->reset());

    std::string text, pulled;
    const auto finish = session->generate(*sampler, *prompt, [&](std::string_view piece) { text += piece; });
    CHECK(finish && !text.empty());
    CHECK(session->generate(*sampler, *prompt, wrong, [](std::string_view) {}).status() == Status::invalid);
    CHECK(session->reset() && sampler->reset());
    Stream stream = session->stream(*sampler, *prompt);
    for (std::string_view piece : stream)
        pulled += piece;
    CHECK(pulled == text && stream.finish() == *finish && !stream.error());
    Stream full = session->stream(*sampler, *prompt);
    for (std::string_view piece : full)
        CHECK(piece.empty());
    CHECK(full.error() && full.error()->status() == Status::context_full && !full.finish());

    CHECK(session->reset() && sampler->reset());
    const auto stopped = session->generate(*sampler, *prompt, [](std::string_view) { return false; });
    CHECK(stopped && *stopped == Finish::callback);

    auto moved = std::move(session);
    CHECK((*std::move(moved)).tokens().ok());
}
