//! A checkpoint's tensors: safetensors files, mapped, and where in them each tensor is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pumice::Bytes;
use pumice::quant::GgmlType;
use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use serde_json::Value;

use super::json::{Json, invalid, missing_file, shown};
use crate::failure::Failure;

/// All tensors of a checkpoint.
pub struct Checkpoint {
    folder: PathBuf,
    shards: Vec<Shard>,
    /// For each name, the number of its shard.
    places: HashMap<String, usize>,
}

/// One safetensors file.
struct Shard {
    path: PathBuf,
    bytes: Bytes,
    /// Where the tensors' bytes start.
    start: usize,
    metadata: Metadata,
}

/// A tensor of a type that is converted.
pub struct Source<'a> {
    pub ty: GgmlType,
    /// The shape, outermost first.
    pub shape: &'a [usize],
    pub data: &'a [u8],
}

impl Checkpoint {
    /// Opens the shards that `model.safetensors.index.json` names, or else `model.safetensors`, and finds all tensors.
    pub fn open(folder: &Path) -> Result<Checkpoint, Failure> {
        let index = Json::read(&folder.join("model.safetensors.index.json"))?;
        let files = match &index {
            Some(index) => shard_names(index)?,
            None => vec!["model.safetensors".to_owned()],
        };
        let shards = files.iter().map(|file| Shard::open(folder.join(file))).collect::<Result<Vec<_>, _>>()?;
        let mut places = HashMap::new();
        for (number, shard) in shards.iter().enumerate() {
            for name in shard.metadata.offset_keys() {
                if let Some(other) = places.insert(name.clone(), number) {
                    let other = shards[other].path.display();
                    return Err(invalid(&shard.path, format!("the tensor `{name}` is in {other} too")));
                }
            }
        }
        let checkpoint = Checkpoint { folder: folder.to_owned(), shards, places };
        if let Some(index) = index {
            checkpoint.compare(&index, &files)?;
        }
        Ok(checkpoint)
    }

    /// Refuses shards whose tensors are not those of the index.
    fn compare(&self, index: &Json, files: &[String]) -> Result<(), Failure> {
        let map = weight_map(index)?;
        for (name, file) in map {
            let found = self.places.get(name).map(|number| files[*number].as_str());
            if found != file.as_str() {
                return Err(index.invalid(format!(
                    "the tensor `{name}` should be in {}, but is in {}",
                    shown(file),
                    found.unwrap_or("no file")
                )));
            }
        }
        match self.places.keys().filter(|name| !map.contains_key(*name)).min() {
            Some(name) => Err(self.bad(name, "not in the index", "a tensor of model.safetensors.index.json")),
            None => Ok(()),
        }
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.places.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The tensor with this name, which has to be there and of a type that is converted.
    pub fn get(&self, name: &str) -> Result<Source<'_>, Failure> {
        let missing = || invalid(&self.folder, format!("the tensor `{name}` is missing"));
        let shard = &self.shards[*self.places.get(name).ok_or_else(missing)?];
        let info = shard.metadata.info(name).ok_or_else(missing)?;
        let ty = match info.dtype {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            other => return Err(self.bad(name, format!("of type {other:?}"), "F32, F16 or BF16")),
        };
        let (start, end) = info.data_offsets;
        let data = shard.bytes.get(shard.start..).and_then(|data| data.get(start..end)).ok_or_else(missing)?;
        Ok(Source { ty, shape: &info.shape, data })
    }

    /// The error for a tensor that cannot be used.
    pub fn bad(&self, name: &str, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Failure {
        let path = self.places.get(name).map_or(&self.folder, |number| &self.shards[*number].path);
        invalid(path, format!("the tensor `{name}` is {found}, expected {expected}"))
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Shard, Failure> {
        if !path.exists() {
            return Err(missing_file(&path));
        }
        let bytes = Bytes::map(&path)?;
        let (len, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| invalid(&path, format!("not a sound safetensors file: {error}")))?;
        Ok(Shard { start: len + size_of::<u64>(), path, bytes, metadata })
    }
}

fn weight_map(index: &Json) -> Result<&serde_json::Map<String, Value>, Failure> {
    let map = index.get("weight_map").ok_or_else(|| index.missing("weight_map"))?;
    map.as_object().ok_or_else(|| index.bad("weight_map", shown(map), "an object"))
}

/// The files of the index, each once, sorted.
fn shard_names(index: &Json) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for file in weight_map(index)?.values() {
        let plain = file.as_str().filter(|name| Path::new(name).file_name().is_some_and(|plain| plain == *name));
        match plain {
            Some(name) => names.push(name.to_owned()),
            None => return Err(index.bad("weight_map", format!("to {}", shown(file)), "names of files in the folder")),
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
