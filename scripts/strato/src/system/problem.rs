//! Problems found in a system file: what, where, expected, fix. Owns their form; rooms that check a system make them.
//! Never decides what is wrong.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Byte range in the text of a system file.
pub type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// One reason to refuse a system file.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What is wrong, in one line.
    title: String,
    span: Span,
    /// Why, next to the marked text.
    label: String,
    /// A second place that the problem involves.
    other: Option<(Span, String)>,
    /// What to do about it.
    fix: String,
}

impl Problem {
    /// Returns a problem at `span`; `label` says why, `fix` what to do.
    pub fn new(title: impl Into<String>, span: &Span, label: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { title: title.into(), span: span.clone(), label: label.into(), other: None, fix: fix.into() }
    }

    /// Returns the problem with a second place that it involves.
    #[must_use]
    pub fn with_other(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.other = Some((span.clone(), label.into()));
        self
    }

    /// Returns the one-line title.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }
}

/// The text of a system file and the name it is shown by.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path as messages show it.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// A system file was refused; `Display` gives every problem with its line.
#[derive(Clone, Debug)]
pub struct Refused {
    source: Source,
    problems: Vec<Problem>,
}

impl Refused {
    /// Returns the refusal, its problems in the order of the file.
    #[must_use]
    pub fn new(source: Source, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self { source, problems }
    }

    /// Returns the problems in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the whole report; `is_styled` adds colors.
    #[must_use]
    pub fn render(&self, is_styled: bool) -> String {
        let renderer = if is_styled { Renderer::styled() } else { Renderer::plain() };
        let reports: Vec<String> = self.problems.iter().map(|problem| self.render_one(&renderer, problem)).collect();
        reports.join("\n\n")
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let mut snippet = Snippet::source(self.source.text.as_str())
            .path(self.source.path.as_str())
            .annotation(AnnotationKind::Primary.span(self.clamp(&problem.span)).label(problem.label.as_str()));
        if let Some((span, label)) = &problem.other {
            snippet = snippet.annotation(AnnotationKind::Context.span(self.clamp(span)).label(label.as_str()));
        }
        let report = [Level::ERROR
            .primary_title(problem.title.as_str())
            .element(snippet)
            .element(Level::HELP.message(problem.fix.as_str()))];
        renderer.render(&report)
    }

    // A span at the very end of the text (a missing key in an empty file) has no character to mark.
    fn clamp(&self, span: &Span) -> Span {
        let end = span.end.min(self.source.text.len());
        span.start.min(end)..end
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Refused {}
