//! What contenders did, beside what ours is to do.

use crate::Scope;
use crate::pair::Contender;

/// What our figure is to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most this much.
    AtMost(f64),
    /// At most so many times native's.
    TimesNative(f64),
    /// At least so many times native's.
    LeastTimesNative(f64),
    /// There is none.
    None,
}

struct Line {
    what: String,
    target: Target,
    figures: Vec<(Contender, f64)>,
}

/// A part's figures; of several rounds medians.
pub(crate) struct Sheet {
    title: String,
    lines: Vec<Line>,
}

impl Sheet {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lines: Vec::new() }
    }

    /// Take note of one round's figure.
    pub(crate) fn note(&mut self, what: &str, target: Target, who: Contender, figure: f64) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.what == what) {
            line.figures.push((who, figure));
        } else {
            self.lines.push(Line { what: what.to_owned(), target, figures: vec![(who, figure)] });
        }
    }

    pub(crate) fn print(&self, scope: &Scope) {
        println!("{}", self.title);
        let names = scope.contenders.iter().map(|one| format!("{:>10}", one.name()));
        println!("  {:46}{}   target of ours", "", names.collect::<String>());
        for line in &self.lines {
            let figures = scope.contenders.iter().map(|one| match line.median(*one) {
                Some(figure) if figure >= 1000.0 => format!("{figure:>10.0}"),
                Some(figure) => format!("{figure:>10.1}"),
                None => format!("{:>10}", "-"),
            });
            println!("  {:46}{}   {}", line.what, figures.collect::<String>(), line.verdict());
        }
    }
}

impl Line {
    fn median(&self, who: Contender) -> Option<f64> {
        let own = self.figures.iter().filter(|(one, _)| *one == who);
        let mut figures: Vec<f64> = own.map(|(_, figure)| *figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    }

    fn verdict(&self) -> String {
        let Some(ours) = self.median(Contender::Ours) else { return String::new() };
        let ratio = self.median(Contender::Native).map(|native| ours / native);
        let (words, is_met) = match (self.target, ratio) {
            (Target::AtMost(most), _) => (format!("at most {most}"), ours <= most),
            (Target::TimesNative(most), Some(ratio)) => {
                (format!("at most {most} x native; {ratio:.2}"), ratio <= most)
            }
            (Target::LeastTimesNative(least), Some(ratio)) => {
                (format!("at least {least} x native; {ratio:.2}"), ratio >= least)
            }
            _ => return String::new(),
        };
        format!("{words}: {}", if is_met { "met" } else { "missed" })
    }
}
