//! What tells models apart without reading them.

use twox_hash::XxHash3_128;

use crate::Model;
use crate::gguf::Value;

/// Tensors up to this size are read as a whole: norms and biases, which training always changes.
const WHOLE: usize = 16 << 10;
/// Of larger ones, four pieces of this size, spread evenly from the first byte to the last.
const PIECE: usize = 64;

impl Model {
    /// A hash of what a model's keys and values depend on: the architecture and its metadata, the tensors' names, types and
    /// shapes, and samples of all their bytes. Not of how the tensors are ordered, or of names and descriptions.
    pub fn fingerprint(&self) -> u128 {
        let gguf = self.gguf();
        let mut hash = XxHash3_128::new();
        let mut field = |bytes: &[u8]| {
            hash.write(&(bytes.len() as u64).to_le_bytes());
            hash.write(bytes);
        };

        let arch = &self.params().arch;
        field(arch.as_bytes());
        let own = |key: &str| key.strip_prefix(arch.as_str()).is_some_and(|rest| rest.starts_with('.'));
        for (key, value) in gguf.keys_by_name().filter(|(key, _)| own(key)) {
            field(key.as_bytes());
            match value {
                Value::Str(text) => field(text.as_bytes()),
                _ => field(value.to_string().as_bytes()),
            }
            for number in
                value.as_array().into_iter().flat_map(|array| (0..array.len()).map(move |i| array.get_number(i)))
            {
                field(number.map(|number| number.to_string()).unwrap_or_default().as_bytes());
            }
        }

        for tensor in gguf.tensors_by_name() {
            field(tensor.name.as_bytes());
            field(&tensor.ty.id().to_le_bytes());
            for i in 0..4 {
                field(&(tensor.dims.get(i) as u64).to_le_bytes());
            }
            let bytes = gguf.tensor_data(tensor);
            if bytes.len() <= WHOLE {
                field(bytes);
            } else {
                let last = bytes.len() - PIECE;
                for at in [0, last / 3, last / 3 * 2, last] {
                    field(&bytes[at..][..PIECE]);
                }
            }
        }
        hash.finish_128()
    }
}
