//! Lists of repairs, in the config and in the token registry.

use crate::input::field::Field;
use crate::input::key::{Kind, MAX_ITEMS};
use crate::input::near;
use crate::input::value::quoted;
use crate::repair::{Repairs, preset};

/// A list of repairs and presets.
pub const KIND: Kind = Kind::List(&Kind::Word(|| preset::names().collect()), 0, MAX_ITEMS);

/// Reads a list of repairs and presets.
pub fn read(field: &Field<'_, '_>) -> Option<Repairs> {
    let sets = field.list(|item| item.parsed(named))?;
    Some(sets.into_iter().fold(Repairs::NONE, Repairs::and))
}

/// Reads the name of a repair or a preset.
pub fn named(name: &str) -> Result<Repairs, String> {
    preset::named(name).ok_or_else(|| {
        let hint = near::hint(name, preset::names());
        let known = if hint.is_empty() {
            format!(
                "; the presets and repairs are {}",
                preset::names().collect::<Vec<_>>().join(", ")
            )
        } else {
            hint
        };
        format!("{} is neither a repair nor a preset{known}", quoted(name))
    })
}
