//! Tables for people.

use std::io::{self, Write};

/// Writes rows, the first of which holds the titles. Columns are as wide as their widest cell; the last one has no
/// width of its own and is written as it is.
pub fn write<const N: usize>(rows: &[[String; N]], out: &mut impl Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let Some((last, cells)) = row.split_last() else { continue };
        for (cell, width) in cells.iter().zip(&widths) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{last}")?;
    }
    Ok(())
}
