//! Tables for people: columns of even width, two spaces between them, the last one not padded.

use std::collections::BTreeMap;

use crate::style::{Style, Tone, tone_of};

/// Rows with columns of even width, under a header.
pub(crate) fn columns(style: Style, header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Growing::new(style, header, rows);
    let mut text = table.header();
    for row in rows {
        text.push_str(&table.row(row));
    }
    text
}

/// A table that goes on: its columns are as wide as what has been shown so far demands.
pub(crate) struct Growing {
    style: Style,
    header: Vec<String>,
    widths: Vec<usize>,
}

impl Growing {
    /// A table wide enough for these rows.
    pub(crate) fn new(style: Style, header: &[&str], rows: &[Vec<String>]) -> Self {
        let header: Vec<_> = header.iter().map(|cell| (*cell).to_owned()).collect();
        let mut table = Self { style, widths: vec![0; header.len()], header };
        table.widen(&table.header.clone());
        rows.iter().for_each(|row| table.widen(row));
        table
    }

    fn widen(&mut self, row: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }

    /// Its header line.
    pub(crate) fn header(&self) -> String {
        let cells: Vec<_> = self.header.iter().map(|cell| (cell.as_str(), Tone::Faint)).collect();
        self.line(&cells)
    }

    /// One row's line.
    pub(crate) fn row(&mut self, row: &[String]) -> String {
        self.widen(row);
        let cells: Vec<_> = row.iter().map(|cell| (cell.as_str(), tone_of(cell))).collect();
        self.line(&cells)
    }

    /// One row's line on which what differs from `before` stands out.
    pub(crate) fn changed_row(&mut self, row: &[String], before: &[String]) -> String {
        self.widen(row);
        let tone = |(index, cell): (usize, &String)| match before.get(index) {
            Some(same) if same == cell => Tone::Plain,
            _ => match tone_of(cell) {
                Tone::Plain => Tone::Strong,
                tone => tone,
            },
        };
        let cells: Vec<_> = row.iter().enumerate().map(|(i, cell)| (cell.as_str(), tone((i, cell)))).collect();
        self.line(&cells)
    }

    fn line(&self, cells: &[(&str, Tone)]) -> String {
        let mut text = String::new();
        for (index, (cell, tone)) in cells.iter().enumerate() {
            text.push_str(&self.style.paint(cell, *tone));
            if index + 1 < cells.len() {
                let padding = self.widths[index].saturating_sub(cell.chars().count()) + 2;
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
        text
    }
}

/// The rows of a table as they change: only what a reader would see changed is shown again.
#[derive(Default)]
pub(crate) struct Rows(BTreeMap<String, Vec<String>>);

impl Rows {
    /// Notes a row and returns what stood there before, if the two differ in any column but `but`.
    pub(crate) fn differs(&mut self, id: &str, row: &[String], but: Option<usize>) -> Option<Vec<String>> {
        let before = self.0.insert(id.to_owned(), row.to_vec());
        let same = before.as_ref().is_some_and(|before| {
            before.len() == row.len() && (0..row.len()).all(|index| Some(index) == but || before[index] == row[index])
        });
        if same { None } else { Some(before.unwrap_or_default()) }
    }

    /// Forgets a row.
    pub(crate) fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_line_up_and_the_last_is_not_padded() {
        let rows = [row(&["web", "Ready"]), row(&["database", "Lost"])];
        let text = columns(Style::plain(), &["NAME", "PHASE"], &rows);
        assert_eq!(text, "NAME      PHASE\nweb       Ready\ndatabase  Lost\n");
    }

    #[test]
    fn a_table_that_goes_on_stays_as_wide_as_it_was() {
        let mut table = Growing::new(Style::plain(), &["NAME", "PHASE"], &[row(&["database", "Lost"])]);
        assert_eq!(table.row(&row(&["web", "Ready"])), "web       Ready\n");
        assert_eq!(table.row(&row(&["a-longer-name", "Ready"])), "a-longer-name  Ready\n");
        assert_eq!(table.changed_row(&row(&["web", "Lost"]), &row(&["web", "Ready"])), "web            Lost\n");
    }

    #[test]
    fn a_row_is_shown_again_only_where_a_reader_sees_a_change() {
        let mut rows = Rows::default();
        let age = Some(2);
        assert_eq!(rows.differs("web", &row(&["web", "1", "2s"]), age), Some(Vec::new()));
        assert_eq!(rows.differs("web", &row(&["web", "1", "9s"]), age), None, "older, and else the same");
        assert_eq!(rows.differs("web", &row(&["web", "2", "9s"]), age), Some(row(&["web", "1", "9s"])));
        rows.remove("web");
        assert_eq!(rows.differs("web", &row(&["web", "2", "9s"]), age), Some(Vec::new()), "it is new again");
    }
}
