"""The harness in Rust; marks such as @INPUTS@ stand for what :mod:`intnn.conform.harness` puts there."""

SOURCE = """\
// A device for `intnn conform` around your own function: @MODEL@
//
// On a PC:     rustc -O harness.rs && intnn conform MODEL --cmd ./harness
// In firmware: take all but main (nothing else needs std), and call serve with the bytes of your UART.
extern crate core;
use core::fmt::{self, Write};

const INPUTS: usize = @INPUTS@;
const OUTPUTS: usize = @OUTPUTS@;
const OPERATIONS: &str = "run"; // and, as soon as you answer them below: layer dense requantize
const LINE: usize = @LONG@; // the longest line, 63 to 4095. None is stored; UARTs that lose bytes take 63.

type Answer = Result<usize, &'static str>; // how many values, or "skip" or "error"

/// To be filled in: the network on x. Return true.
fn run(_x: &[@X_TYPE@; INPUTS], _y: &mut [@Y_TYPE@; OUTPUTS]) -> bool {
    false
}

/// To be filled in: the outputs of layer `layer` during an inference on x.
fn layer(_layer: i32, _x: &[i16], _result: &mut [i16]) -> Answer {
    Err("skip")
}

/// To be filled in: layer `layer` alone on x.
fn dense(_layer: i32, _x: &[i16], _result: &mut [i16]) -> Answer {
    Err("skip")
}

/// To be filled in: neuron `neuron` of layer `layer` from the accumulator `acc`.
fn requantize(_layer: i32, _neuron: i32, _acc: i32, _result: &mut [i16]) -> Answer {
    Err("skip")
}

// From here on nothing needs a change.

fn infer(vector: &[i16], result: &mut [i16]) -> Answer {
    let (mut x, mut y) = ([0; INPUTS], [0; OUTPUTS]);
    if vector.len() != INPUTS {
        return Err("error");
    }
    for (a, b) in x.iter_mut().zip(vector) {
        *a = *b as @X_TYPE@;
    }
    if !run(&x, &mut y) {
        return Err("skip");
    }
    for (a, b) in result.iter_mut().zip(&y) {
        *a = *b as i16;
    }
    Ok(OUTPUTS)
}

struct Output<P: FnMut(u8)>(P);

impl<P: FnMut(u8)> Write for Output<P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(&mut self.0);
        Ok(())
    }
}

#[derive(Default)]
struct Word {
    text: [u8; 12],
    length: usize,
    end: Option<u8>, // the byte after it; None where no more will come
}

impl Word {
    fn read(get: &mut impl FnMut() -> Option<u8>) -> Word {
        let mut word = Word::default();
        loop {
            match get() {
                Some(b'\\r') => {}
                Some(c) if c != b' ' && c != b'\\n' => {
                    word.text[word.length.min(11)] = c; // the twelfth makes it too long for anything
                    word.length = (word.length + 1).min(12);
                }
                end => return Word { end, ..word },
            }
        }
    }
    fn text(&self) -> &str {
        core::str::from_utf8(&self.text[..self.length]).unwrap_or("?")
    }
    fn integer(&self) -> Option<i32> {
        if self.text[0] == b'+' { None } else { self.text().parse().ok() }
    }
}

/// Answers until `get`, which waits for a byte, gives None.
pub fn serve(mut get: impl FnMut() -> Option<u8>, put: impl FnMut(u8)) {
    const CAPACITY: usize = @LONGEST_INPUT@;
    const A_LINE: usize = (LINE - 10) / 7;
    let (mut vector, mut count, mut result) = ([0i16; CAPACITY], 0, [0i16; @LONGEST_OUTPUT@]);
    let mut out = Output(put);
    loop {
        let mut word = Word::read(&mut get);
        let id = word.integer().filter(|id| (0..65536).contains(id));
        let mut command = Word { end: word.end, ..Word::default() };
        if word.end == Some(b' ') {
            command = Word::read(&mut get);
        }
        word.end = command.end;
        let needs = match command.text() { "layer" | "dense" => 1, "requantize" => 3, _ => 0 };
        let (mut argument, mut given, mut wrong, before) = ([0; 3], 0, false, count);
        if command.text() == "hello" {
            count = 0;
        }
        while word.end == Some(b' ') {
            word = Word::read(&mut get);
            match word.integer() {
                Some(v) if given < needs => { argument[given] = v; given += 1 }
                Some(v) if count < CAPACITY => { vector[count] = v as i16; count += 1 }
                _ => wrong = true,
            }
        }
        if word.end.is_none() {
            return;
        }
        let Some(id) = id else { count = before; continue };
        let values = &vector[..count];
        let answer = match command.text() {
            "hello" | "x" | "run" | "layer" | "dense" | "requantize" if wrong || given < needs => Err("error"),
            "hello" if count > 0 => Err("error"),
            "hello" | "x" => Ok(0),
            "run" => infer(values, &mut result),
            "layer" => layer(argument[0], values, &mut result),
            "dense" => dense(argument[0], values, &mut result),
            "requantize" => requantize(argument[0], argument[1], argument[2], &mut result),
            _ => Err("skip"),
        };
        let _ = match answer {
            Err(why) => writeln!(out, "{id} {why}"),
            Ok(_) if command.text() == "hello" => writeln!(out, "{id} @VERSION@ @HASH@ {LINE} {OPERATIONS}"),
            Ok(n) => {
                let last = n.saturating_sub(1) / A_LINE * A_LINE;
                for (i, v) in result[..n].iter().enumerate() {
                    if i % A_LINE == 0 {
                        let (newline, kind) = (if i > 0 { "\\n" } else { "" }, if i < last { "more" } else { "ok" });
                        let _ = write!(out, "{newline}{id} {kind}");
                    }
                    let _ = write!(out, " {v}");
                }
                if n == 0 { writeln!(out, "{id} ok") } else { writeln!(out) }
            }
        };
        if command.text() != "x" || answer.is_err() {
            count = 0;
        }
    }
}

fn main() {
    use std::io::{Read, Write};
    let (mut input, mut output) = (std::io::stdin().lock().bytes(), std::io::stdout().lock());
    serve(
        || input.next().and_then(Result::ok),
        |byte| {
            let _ = output.write_all(&[byte]);
            if byte == b'\\n' {
                let _ = output.flush();
            }
        },
    );
}
"""
