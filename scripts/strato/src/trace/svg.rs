//! Svg: a picture of which vCPU ran where, and why it stopped: a lane per core, a color per VM, a mark per reason, a time axis and a
//! legend. Written by hand: it is rectangles and text.

use std::fmt::Write as _;

use super::runs::{self, Run, Why};
use super::{Trace, words};

/// Pixels of the picture: where lanes begin, how wide they are, how high, and how far apart.
const LEFT: f64 = 80.0;
const WIDTH: f64 = 1320.0;
const TOP: f64 = 64.0;
const LANE: f64 = 34.0;
const STEP: f64 = 58.0;
/// Runs that are narrower are drawn together with their neighbors.
const NARROWEST: f64 = 0.5;
/// A run that is as wide has its name in it.
const NAMED: f64 = 54.0;

/// Colors of VMs by place (Okabe and Ito: told apart by all eyes), then again from the first.
const COLORS: [&str; 7] = ["#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#0072b2", "#d55e00"];

/// Returns the picture.
#[must_use]
pub fn picture(trace: &Trace) -> String {
    let (first, last) = trace.span();
    let scale = Scale { first, ticks: last.saturating_sub(first).max(1) };
    #[allow(clippy::cast_precision_loss, reason = "a few cores")]
    let axis = TOP + STEP * trace.cores.len() as f64;
    let height = axis + 116.0;
    let mut out = String::new();
    let whole = LEFT + WIDTH + 40.0;
    line(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {height}\" width=\"{whole}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
        ),
    );
    line(&mut out, format_args!("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"));
    text(&mut out, LEFT, 26.0, "start", &format!("{}: which vCPU ran on which core", trace.system));
    text(&mut out, LEFT, 44.0, "start", &trace.summary());
    for (n, core) in (0u32..).zip(&trace.cores) {
        let y = TOP + STEP * f64::from(n);
        text(&mut out, LEFT - 10.0, y + 21.0, "end", &format!("core {}", core.core));
        rect(&mut out, (LEFT, y, WIDTH), "#e4e4e4", "idle, or in the hypervisor");
        lane(&mut out, trace, &scale, y, &runs::runs(core));
    }
    axis_at(&mut out, trace, &scale, axis);
    legend(&mut out, trace, axis + 52.0);
    out.push_str("</svg>\n");
    out
}

/// From ticks to pixels.
struct Scale {
    first: u64,
    ticks: u64,
}

impl Scale {
    #[allow(clippy::cast_precision_loss, reason = "a pixel is more than a rounded tick")]
    fn x(&self, ticks: u64) -> f64 {
        LEFT + WIDTH * ticks.saturating_sub(self.first) as f64 / self.ticks as f64
    }
}

fn lane(out: &mut String, trace: &Trace, scale: &Scale, y: f64, runs: &[Run<'_>]) {
    let mut rest = runs;
    while let Some((run, others)) = rest.split_first() {
        let (x, end) = (scale.x(run.start), scale.x(run.end));
        // Neighbors that no eye would tell apart: as many as begin within the same half pixel.
        let crowd = rest.iter().take_while(|run| scale.x(run.end) - x < NARROWEST).count();
        if crowd > 1 {
            let last = rest.get(crowd - 1).map_or(end, |run| scale.x(run.end));
            rect(out, (x, y, (last - x).max(NARROWEST)), "#555555", &format!("{crowd} runs, too short to be drawn"));
            rest = rest.get(crowd..).unwrap_or_default();
            continue;
        }
        let who = trace.who(run.vm, run.vcpu);
        let ticks = run.end.saturating_sub(run.start);
        let stopped = run.last.map_or("had the core to the end".into(), |last| {
            format!("{}: {}, {}", runs::why(last).word(), words::full(last), words::decision(trace, last))
        });
        let (width, color) = ((end - x).max(NARROWEST), color(run.vm));
        rect(
            out,
            (x, y, width),
            color,
            &format!("{who}, {ticks} {} from {}; {stopped}", trace.unit(), run.start - scale.first),
        );
        if width >= NAMED {
            text(out, x + width / 2.0, y + 21.0, "middle", &who);
        }
        if let Some(last) = run.last {
            mark(out, end, y + LANE, runs::why(last));
        }
        rest = others;
    }
}

fn color(vm: u8) -> &'static str {
    COLORS.get(usize::from(vm) % COLORS.len()).copied().unwrap_or("#888888")
}

/// Draws why a run ended, below its end: the shape tells as well as the color.
fn mark(out: &mut String, x: f64, y: f64, why: Why) {
    let (color, path) = match why {
        Why::Waits => ("#0072b2", "v8h-2v-8z"),
        Why::Yields => ("#009e73", "l4 8h-8z"),
        Why::Moves => ("#cc79a7", "h-4v8l8-4z"),
        Why::Displaced => ("#d55e00", "h4v6h-8v-6z"),
        Why::Ends => ("#444444", "l3 5l-3 5l-3-5z"),
        Why::Stopped => ("#c00000", "m-4 0l8 8m0-8l-8 8"),
    };
    let stroke = if why == Why::Stopped { " stroke=\"#c00000\" stroke-width=\"2\"" } else { "" };
    line(out, format_args!("<path d=\"M{x:.1} {:.1}{path}\" fill=\"{color}\"{stroke}/>", y + 2.0));
}

fn axis_at(out: &mut String, trace: &Trace, scale: &Scale, y: f64) {
    let hz = trace.cores.first().map_or(1, |core| core.counter_hz.max(1));
    let count = |per_second: u64| u128::from(scale.ticks) * u128::from(per_second) / u128::from(hz);
    let (unit, per_second) = if trace.is_counted {
        ("instructions", hz)
    } else {
        let times = [("seconds", 1), ("milliseconds", 1_000), ("microseconds", 1_000_000)];
        times.into_iter().find(|(_, per_second)| count(*per_second) >= 10).unwrap_or(("microseconds", 1_000_000))
    };
    // A step of 1, 2 or 5 times a power of ten, so that there are at most ten.
    let units = u64::try_from(count(per_second)).unwrap_or(u64::MAX);
    let steps = (0..18).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let step = steps.into_iter().find(|step| units / step <= 10).unwrap_or(units.max(1));
    let (right, top) = (LEFT + WIDTH, y + 4.0);
    line(out, format_args!("<path d=\"M{LEFT} {top}H{right}\" stroke=\"#444444\"/>"));
    for n in 0..=units / step {
        let ticks = u128::from(n * step) * u128::from(hz) / u128::from(per_second);
        let x = scale.x(scale.first.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)));
        line(out, format_args!("<path d=\"M{x:.1} {top}v6\" stroke=\"#444444\"/>"));
        text(out, x, y + 24.0, "middle", &(n * step).to_string());
    }
    text(out, right + 34.0, y + 40.0, "end", unit);
}

fn legend(out: &mut String, trace: &Trace, y: f64) {
    let mut x = LEFT;
    for (vm, label) in (0u8..).zip(&trace.vms) {
        rect(out, (x, y, 14.0), color(vm), label);
        text(out, x + 20.0, y + 21.0, "start", label);
        #[allow(clippy::cast_precision_loss, reason = "a short name")]
        let width = 44.0 + 7.0 * label.len() as f64;
        x += width;
    }
    x = LEFT;
    for why in Why::ALL {
        mark(out, x + 5.0, y + 42.0, why);
        text(out, x + 18.0, y + 53.0, "start", why.word());
        x += 100.0;
    }
    rect_of(out, (x, y + 42.0, 14.0, 12.0), "#555555", "crowd");
    text(out, x + 20.0, y + 53.0, "start", "several runs, too short to be drawn");
}

fn rect(out: &mut String, (x, y, width): (f64, f64, f64), fill: &str, title: &str) {
    rect_of(out, (x, y, width, LANE), fill, title);
}

fn rect_of(out: &mut String, (x, y, width, height): (f64, f64, f64, f64), fill: &str, title: &str) {
    let title = escape(title);
    line(
        out,
        format_args!(
            "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height}\" fill=\"{fill}\"><title>{title}</title></rect>"
        ),
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escape(words);
    line(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"));
}

fn line(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{what}");
}

/// Returns `text` as it may stand between tags; what XML cannot hold is a question mark.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ if letter.is_control() => out.push('?'),
            _ => out.push(letter),
        }
    }
    out
}
