//! The options: every key with its kind, its meaning and how to read and change it. Defaults are the core's.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use pumice::pool::MAX_THREADS;
use pumice::{
    Activations, Error, GenerateOptions, Kernels, KvType, ModelOptions, Pooling, SamplerOptions, SessionOptions,
};

use crate::abi::{PUMICE_CONTINUE, pumice_progress_fn};

/// What a set of options says: one part for each scope.
#[derive(Clone, Default)]
pub struct Options {
    pub model: ModelOptions,
    pub session: SessionOptions,
    pub vectors: Vectors,
    pub sampler: SamplerOptions,
    pub generate: GenerateOptions,
    pub progress: Progress,
    /// The keys that have been set, and not unset since.
    pub set: BTreeSet<&'static str>,
}

impl Options {
    /// `session` and `vectors` with those of their options changed that have been set here.
    pub fn change(&self, session: &SessionOptions, vectors: Vectors) -> Result<(SessionOptions, Vectors), String> {
        let mut changed = Self { session: session.clone(), vectors, ..Self::default() };
        for key in KEYS.iter().filter(|key| key.name.starts_with("session.") && self.set.contains(key.name)) {
            match key.kind {
                Kind::Int { get, set } => set(&mut changed, get(self))?,
                Kind::Float { get, set } => set(&mut changed, get(self))?,
                Kind::Text { get, set, .. } => set(&mut changed, &get(self))?,
            }
        }
        Ok((changed.session, changed.vectors))
    }
}

/// How a session makes vectors of texts, which the core is told in each call.
#[derive(Clone, Copy)]
pub struct Vectors {
    /// `None`: as the model's file says.
    pub pooling: Option<Pooling>,
    pub normalize: bool,
}

impl Default for Vectors {
    fn default() -> Self {
        Self { pooling: None, normalize: true }
    }
}

/// The progress callback and its user data.
#[derive(Clone, Copy)]
pub struct Progress {
    pub function: pumice_progress_fn,
    pub user_data: *mut std::ffi::c_void,
}

impl Default for Progress {
    fn default() -> Self {
        Self { function: None, user_data: std::ptr::null_mut() }
    }
}

impl Progress {
    /// Tells the callback, and asks whether to go on.
    pub fn tell(&self, done: u64, total: u64) -> ControlFlow<()> {
        let Some(function) = self.function else { return ControlFlow::Continue(()) };
        // SAFETY: the caller's own function and data.
        flow(unsafe { function(self.user_data, done, total) })
    }
}

/// What a callback's answer means.
pub fn flow(answer: i32) -> ControlFlow<()> {
    if answer == PUMICE_CONTINUE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// One option.
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// For the header and `pumice_describe`: meaning, range, default.
    pub doc: &'static str,
}

/// What kind of value an option has. Setters that refuse say what they expected.
pub enum Kind {
    Int { get: fn(&Options) -> i64, set: fn(&mut Options, i64) -> Result<(), String> },
    Float { get: fn(&Options) -> f64, set: fn(&mut Options, f64) -> Result<(), String> },
    Text { get: fn(&Options) -> String, set: fn(&mut Options, &str) -> Result<(), String>, unset: fn(&mut Options) },
}

impl Kind {
    /// As in `pumice_options_set_...`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Int { .. } => "int",
            Self::Float { .. } => "float",
            Self::Text { .. } => "string",
        }
    }
}

/// The key with this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// An integer option that is a number of things, 0 to `max`.
macro_rules! size {
    ($scope:ident . $field:ident, $max:expr) => {
        Kind::Int {
            get: |o| crate::call::int(o.$scope.$field),
            set: |o, value| {
                let size = usize::try_from(value).ok().filter(|size| *size <= $max);
                o.$scope.$field = size.ok_or_else(|| format!("0 to {}", $max))?;
                Ok(())
            },
        }
    };
}

/// An integer option that is a truth value.
macro_rules! truth {
    ($scope:ident . $field:ident) => {
        Kind::Int {
            get: |o| o.$scope.$field.into(),
            set: |o, value| {
                o.$scope.$field = match value {
                    0 => false,
                    1 => true,
                    _ => return Err("0 or 1".to_owned()),
                };
                Ok(())
            },
        }
    };
}

/// A float option of the sampler, which knows the range itself.
macro_rules! sampler_float {
    ($field:ident) => {
        Kind::Float {
            // By way of its shortest decimal form: 0.8, not 0.800000011920929.
            get: |o| o.sampler.$field.to_string().parse().unwrap_or(f64::from(o.sampler.$field)),
            set: |o, value| {
                let before = std::mem::replace(&mut o.sampler.$field, value as f32);
                o.sampler.check().map_err(|error| {
                    o.sampler.$field = before;
                    expected(error)
                })
            },
        }
    };
}

fn expected(error: Error) -> String {
    match error {
        Error::InvalidArgument { expected, .. } => expected,
        other => other.to_string(),
    }
}

/// The most positions or tokens that an option takes.
const MANY: usize = 1 << 28;

/// All options.
pub static KEYS: &[Key] = &[
    Key {
        name: "model.mmap",
        kind: truth!(model.mmap),
        doc: "1 maps the file: nothing is read before it is used, and processes share the memory; but if the file is \
              truncated meanwhile, the process ends with SIGBUS. 0 reads it into memory.",
    },
    Key {
        name: "model.metadata_only",
        kind: truth!(model.metadata_only),
        doc: "1 reads the header only. Metadata, vocabulary, pumice_model_get_int and pumice_model_memory work, a session \
              cannot be made.",
    },
    Key {
        name: "model.preload",
        kind: truth!(model.preload),
        doc: "1 brings the whole mapped file into memory before the model is opened, instead of when it is used.",
    },
    Key {
        name: "model.head",
        kind: Kind::Text {
            get: |o| o.model.head.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            set: |o, path| {
                o.model.head = (!path.is_empty()).then(|| path.into());
                Ok(())
            },
            unset: |o| o.model.head = None,
        },
        doc: "The path of a file with a classification head for pumice_session_classify, in place of the model's own if \
              it has one; empty for none. PUMICE_ERR_MISMATCH if it was made for models of another architecture or width.",
    },
    Key {
        name: "session.n_ctx",
        kind: size!(session.n_ctx, MANY),
        doc: "Positions that a sequence may have; 0 for as many as the model was trained on. Memory is taken as it is \
              needed.",
    },
    Key {
        name: "session.threads",
        kind: size!(session.threads, MAX_THREADS),
        doc: "Threads, the caller's included; 0, or more than that, for as many as the system lets this process use. \
              Results do not depend on it.",
    },
    Key {
        name: "session.chunk",
        kind: size!(session.chunk, 1 << 16),
        doc: "Tokens of a prompt that go through the model together; 0 to choose by the model's size. Results do not \
              depend on it.",
    },
    Key {
        name: "session.kernels",
        kind: Kind::Text {
            get: |o| o.session.kernels.map_or("auto", Kernels::name).to_owned(),
            set: |o, name| {
                let found = Kernels::available().find(|kernels| kernels.name() == name);
                if found.is_none() && name != "auto" {
                    let names: Vec<_> = Kernels::available().map(Kernels::name).collect();
                    return Err(format!("auto or, on this computer, one of {}", names.join(", ")));
                }
                o.session.kernels = found;
                Ok(())
            },
            unset: |o| o.session.kernels = None,
        },
        doc: "The instruction set to compute with, by the names that pumice_describe lists; \"auto\" for the fastest. \
              Results do not depend on it.",
    },
    Key {
        name: "session.kv_type",
        kind: Kind::Text {
            get: |o| o.session.kv_type.name().to_owned(),
            set: |o, name| {
                let names = || KvType::ALL.map(KvType::name).join(" or ");
                o.session.kv_type = KvType::from_name(name).ok_or_else(names)?;
                Ok(())
            },
            unset: |o| o.session.kv_type = KvType::default(),
        },
        doc: "What keys and values are kept as: \"f16\"; \"f32\" for the last bit of a model with float weights, in twice \
              the memory; or \"q8_0\", integers of eight bits, in about half of it.",
    },
    Key {
        name: "session.activations",
        kind: Kind::Text {
            get: |o| o.session.activations.name().to_owned(),
            set: |o, name| {
                let names = || Activations::ALL.map(Activations::name).join(" or ");
                o.session.activations = Activations::from_name(name).ok_or_else(names)?;
                Ok(())
            },
            unset: |o| o.session.activations = Activations::default(),
        },
        doc: "How activations are rounded that meet quantized weights or BF16: \"mixed\", to sixteen bits where most is lost \
              otherwise (keys, values, logits) and to eight elsewhere; or \"int8\", to eight bits everywhere, which reads \
              prompts up to a tenth faster.",
    },
    Key {
        name: "session.memory_limit",
        kind: size!(session.memory_limit, isize::MAX as usize),
        doc: "Bytes that the keys and values, a step's buffers and the outputs of the session may take together; 0 for no \
              limit. A call that would exceed it returns PUMICE_ERR_NO_MEMORY before it changes anything: sequences \
              and outputs are as they were.",
    },
    Key {
        name: "session.embeddings",
        kind: truth!(session.embeddings),
        doc: "1 keeps the final hidden state of each output too, for pumice_session_embedding.",
    },
    Key {
        name: "session.pooling",
        kind: Kind::Text {
            get: |o| o.vectors.pooling.map_or("auto", Pooling::name).to_owned(),
            set: |o, name| {
                let found = Pooling::ALL.into_iter().find(|pooling| pooling.name() == name);
                if found.is_none() && name != "auto" {
                    return Err(format!("auto or one of {}", Pooling::ALL.map(Pooling::name).join(", ")));
                }
                o.vectors.pooling = found;
                Ok(())
            },
            unset: |o| o.vectors.pooling = None,
        },
        doc: "What pumice_session_embed makes of the hidden states of a text's tokens: their \"mean\", the \"last\", the \
              first (\"cls\"), or \"none\": all of them; \"auto\" for what the model's file says, and the mean if it says \
              nothing.",
    },
    Key {
        name: "session.normalize",
        kind: truth!(vectors.normalize),
        doc: "1 divides what pumice_session_embed gives by its length (the root of the sum of squares), vector by vector.",
    },
    Key {
        name: "sampler.temperature",
        kind: sampler_float!(temperature),
        doc: "Divides the logits before the draw, at least 0. 0 is greedy: always the most likely token.",
    },
    Key {
        name: "sampler.top_k",
        kind: size!(sampler.top_k, MANY),
        doc: "Only this many most likely tokens stay; 0 is off.",
    },
    Key {
        name: "sampler.top_p",
        kind: sampler_float!(top_p),
        doc: "Only the fewest most likely tokens whose probabilities add up to this stay, 0 to 1; 1 is off.",
    },
    Key {
        name: "sampler.min_p",
        kind: sampler_float!(min_p),
        doc: "Only tokens at least this many times as likely as the most likely one stay, 0 to 1; 0 is off.",
    },
    Key {
        name: "sampler.repeat_penalty",
        kind: sampler_float!(repeat_penalty),
        doc: "Divides the positive logits of recent tokens and multiplies the others, above 0; 1 is off.",
    },
    Key {
        name: "sampler.frequency_penalty",
        kind: sampler_float!(frequency_penalty),
        doc: "Is subtracted from a token's logit once for each time it is among the recent ones; 0 is off.",
    },
    Key {
        name: "sampler.presence_penalty",
        kind: sampler_float!(presence_penalty),
        doc: "Is subtracted once from the logit of each recent token; 0 is off.",
    },
    Key {
        name: "sampler.penalty_last_n",
        kind: size!(sampler.penalty_last_n, MANY),
        doc: "How many of the last accepted tokens count as recent; 0 turns the penalties off.",
    },
    Key {
        name: "sampler.seed",
        kind: Kind::Int {
            get: |o| o.sampler.seed.cast_signed(),
            set: |o, value| {
                o.sampler.seed = value.cast_unsigned();
                Ok(())
            },
        },
        doc: "Where the random numbers start, any value: the same seed gives the same tokens, on every computer.",
    },
    Key {
        name: "generate.max_tokens",
        kind: size!(generate.max_tokens, MANY),
        doc: "Tokens to generate at most; 0 for as many as the context has room for.",
    },
    Key {
        name: "generate.stop",
        kind: Kind::Text {
            get: |o| o.generate.stop.join("\n"),
            set: |o, text| {
                if text.is_empty() {
                    return Err("a text that is not empty".to_owned());
                }
                o.generate.stop.push(text.to_owned());
                Ok(())
            },
            unset: |o| o.generate.stop.clear(),
        },
        doc: "A text that ends the generation where it appears; it is not shown. Setting it again adds another one.",
    },
    Key {
        name: "generate.special",
        kind: truth!(generate.special),
        doc: "1 shows control tokens as the text they are named by.",
    },
];
