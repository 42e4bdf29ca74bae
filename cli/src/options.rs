//! Options that several commands share: how a session runs, how tokens are chosen.

use std::time::{SystemTime, UNIX_EPOCH};

use pumice::{Activations, Kernels, KvType, SamplerOptions, SessionOptions, Token};

/// How the model runs. The text does not depend on it, but for --kv-type and --activations.
#[derive(clap::Args, Default)]
pub struct RunArgs {
    /// Threads; 0 for as many as this process may use
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// The kernels to use instead of the fastest ones: scalar, avx2, …
    #[arg(long, value_name = "NAME", value_parser = kernels)]
    pub kernels: Option<&'static Kernels>,
    /// What keys and values are kept as: f16; f32 in twice the memory; or q8_0 in half of it
    #[arg(long, value_name = "TYPE", value_parser = kv_type, default_value = KvType::default().name())]
    pub kv_type: KvType,
    /// How activations are rounded that meet quantized weights or BF16: mixed, to sixteen bits where it matters most; or int8
    #[arg(long, value_name = "KIND", value_parser = activations, default_value = Activations::default().name())]
    pub activations: Activations,
}

impl RunArgs {
    /// For sequences of at most `n_ctx` positions; 0 for what the model was trained on.
    pub fn session(&self, n_ctx: usize) -> SessionOptions {
        SessionOptions {
            n_ctx,
            threads: self.threads,
            kernels: self.kernels,
            kv_type: self.kv_type,
            activations: self.activations,
            ..SessionOptions::default()
        }
    }
}

fn kv_type(name: &str) -> Result<KvType, String> {
    KvType::from_name(name).ok_or_else(|| format!("there are {}", KvType::ALL.map(KvType::name).join(", ")))
}

fn activations(name: &str) -> Result<Activations, String> {
    let names = || format!("there are {}", Activations::ALL.map(Activations::name).join(", "));
    Activations::from_name(name).ok_or_else(names)
}

fn kernels(name: &str) -> Result<&'static Kernels, String> {
    Kernels::available().find(|kernels| kernels.name() == name).ok_or_else(|| {
        let available: Vec<_> = Kernels::available().map(Kernels::name).collect();
        format!("this CPU has {}", available.join(", "))
    })
}

/// How tokens are chosen.
#[derive(clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplerArgs {
    /// Temperature: 0 always takes the most likely token, higher numbers vary more
    #[arg(long, value_name = "T", default_value_t = SamplerOptions::default().temperature, allow_negative_numbers = true)]
    pub temp: f32,
    /// Choose among this many most likely tokens; 0 is off
    #[arg(long, value_name = "K", default_value_t = SamplerOptions::default().top_k)]
    pub top_k: usize,
    /// Choose among the fewest tokens whose probabilities add up to this; 1 is off
    #[arg(long, value_name = "P", default_value_t = SamplerOptions::default().top_p, allow_negative_numbers = true)]
    pub top_p: f32,
    /// Choose among tokens at least this many times as likely as the most likely one; 0 is off
    #[arg(long, value_name = "P", default_value_t = SamplerOptions::default().min_p, allow_negative_numbers = true)]
    pub min_p: f32,
    /// Divide the logits of recent tokens; 1 is off
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().repeat_penalty, allow_negative_numbers = true)]
    pub repeat_penalty: f32,
    /// Subtract this from a token's logit for each time it is among the recent ones; 0 is off
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().frequency_penalty, allow_negative_numbers = true)]
    pub frequency_penalty: f32,
    /// Subtract this from the logits of recent tokens; 0 is off
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().presence_penalty, allow_negative_numbers = true)]
    pub presence_penalty: f32,
    /// Add BIAS to a token's logit; -inf forbids it. May be given several times
    #[arg(long, value_name = "ID=BIAS", value_parser = logit_bias)]
    pub logit_bias: Vec<(Token, f32)>,
    /// Where the random numbers start: the same seed gives the same text, with any threads and kernels. Without it,
    /// every run has its own, which --stats prints
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
}

impl SamplerArgs {
    /// The seed that was given, or one of this moment's.
    pub fn seed(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        self.seed.unwrap_or_else(now)
    }

    /// For the library, with this seed.
    pub fn options(&self, seed: u64) -> SamplerOptions {
        SamplerOptions {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            logit_bias: self.logit_bias.clone(),
            seed,
            ..SamplerOptions::default()
        }
    }
}

fn logit_bias(text: &str) -> Result<(Token, f32), String> {
    let pair = text.split_once('=').and_then(|(id, bias)| Some((id.trim().parse().ok()?, bias.trim().parse().ok()?)));
    pair.ok_or_else(|| "a token's id and a number are needed, such as 42=-1.5 or 42=-inf".to_owned())
}
