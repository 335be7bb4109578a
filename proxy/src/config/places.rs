//! Where in the file each key stands, so that a finding about a meaning has a line and a column too.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A place in a text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// What stands where.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// `listeners.app.routes[0].upstream` and the place to show for it.
    by_path: BTreeMap<String, Place>,
    /// Where each key begins.
    keys: BTreeMap<Place, String>,
    /// Where each value, map and list begins; of several, the innermost.
    values: BTreeMap<Place, String>,
}

impl Places {
    /// Reads the places of a text. A text that is not YAML has none.
    pub(super) fn read(text: &str, options: serde_saphyr::Options) -> Places {
        let mut places = Places::default();
        if let Ok(tree) = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options) {
            places.by_path.insert(String::new(), Place { line: 1, column: 1 });
            places.values.insert(place(tree.referenced), String::new());
            places.note("", &tree.value);
        }
        places
    }

    /// The place of a path, or of the nearest one around it.
    pub(super) fn of(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.by_path.get(path) {
                return Some(*place);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    /// The path whose key or value begins at a place.
    pub(super) fn path_at(&self, place: Place) -> Option<&str> {
        self.keys.get(&place).or_else(|| self.values.get(&place)).map(String::as_str)
    }

    /// The path of the map around the key that begins at a place, or of the map that begins there itself.
    pub(super) fn map_at(&self, place: Place) -> Option<&str> {
        match self.keys.get(&place) {
            Some(key) => Some(key.rfind(['.', '[']).and_then(|end| key.get(..end)).unwrap_or_default()),
            None => self.values.get(&place).map(String::as_str),
        }
    }

    /// Notes every path below `path`. A map or list is shown where its key stands: the reader looks for
    /// the name, and a block's first line is already its first member.
    fn note(&mut self, path: &str, tree: &Tree) {
        match tree {
            Tree::Leaf => {}
            Tree::Map(members) => {
                for (key, value) in members {
                    let path = member(path, &key.value);
                    let shown = match &value.value {
                        Tree::Leaf => value.referenced,
                        Tree::Map(_) | Tree::List(_) => key.referenced,
                    };
                    self.by_path.entry(path.clone()).or_insert(place(shown));
                    self.keys.insert(place(key.referenced), path.clone());
                    self.values.insert(place(value.referenced), path.clone());
                    self.note(&path, &value.value);
                }
            }
            Tree::List(entries) => {
                for (index, value) in entries.iter().enumerate() {
                    let path = entry(path, index);
                    self.by_path.insert(path.clone(), place(value.referenced));
                    self.values.insert(place(value.referenced), path.clone());
                    self.note(&path, &value.value);
                }
            }
        }
    }
}

/// The path of a map's member, as findings name it; names that would not read as one are quoted.
pub fn member(path: &str, name: &str) -> String {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let name = if plain { name.to_owned() } else { format!("{name:?}") };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// The path of a list's entry.
pub(super) fn entry(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// A text without its values: only what stands where.
enum Tree {
    Leaf,
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
    List(Vec<Spanned<Tree>>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map, a list or a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Map(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(Tree::List(entries))
    }
}

fn place(location: serde_saphyr::Location) -> Place {
    Place { line: location.line(), column: location.column() }
}
