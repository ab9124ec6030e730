// The network of sensors.c in Rust: 6-8-8-3. It belongs behind the harness, in the place of `run`.
static W0: [[i8; 6]; 8] = [
    [0, 11, -10, -34, -17, -38],
    [2, 51, -19, -24, 19, 14],
    [4, -35, -1, 26, -51, -17],
    [-72, -49, -70, -9, -48, 10],
    [6, -7, -96, -20, -2, 4],
    [-58, -18, -37, -31, 40, -31],
    [-1, 34, -22, -4, 4, 2],
    [-47, 3, 52, -59, 33, 5],
];
static B0: [i32; 8] = [203, 668, 334, -250, 257, 176, -706, -794];
static W1: [[i8; 8]; 8] = [
    [3, 22, -7, 26, -3, 25, 55, -26],
    [8, -18, 5, -45, -22, -7, 34, 44],
    [-50, -30, 25, -76, -18, -4, 48, 26],
    [-12, -14, -10, 58, -16, -12, 13, -5],
    [-7, -42, 0, -17, 44, 25, -1, 25],
    [-13, 40, 0, 22, -49, 13, -64, -77],
    [-12, -34, 6, 85, -32, -24, 8, 19],
    [-7, -8, 27, 20, -39, -3, 1, -40],
];
static B1: [i32; 8] = [258, -654, 624, -146, 625, 567, 846, -875];
static W2: [[i8; 8]; 3] = [
    [3, -22, -5, -76, -43, 14, -81, 32],
    [-66, 29, -32, 30, 5, -58, 47, 55],
    [-3, -10, -6, -37, 42, -21, -2, -30],
];
static B2: [i32; 3] = [385, 760, -727];

fn layer_of<const N: usize>(w: &[i8; N], x: &[i8], zero: i32, bias: i32) -> i32 {
    w.iter().zip(x).fold(bias, |acc, (&w, &x)| acc + (i32::from(x) - zero) * i32::from(w))
}

// (acc * multiplier + half) >> shift, the zero point, saturation
fn requantized(acc: i32, multiplier: i32, shift: u32, zero: i32) -> i8 {
    let v = ((acc * multiplier + (1 << (shift - 1))) >> shift) + zero;
    v.clamp(-128, 127) as i8
}

fn run(x: &[i8; INPUTS], y: &mut [i8; OUTPUTS]) -> bool {
    let (mut h0, mut h1) = ([0i8; 8], [0i8; 8]);
    for o in 0..8 {
        h0[o] = requantized(layer_of(&W0[o], x, -2, B0[o]), 3, 8, -128);
    }
    for o in 0..8 {
        h1[o] = requantized(layer_of(&W1[o], &h0, -128, B1[o]), 3, 9, -128);
    }
    for o in 0..OUTPUTS {
        y[o] = requantized(layer_of(&W2[o], &h1, -128, B2[o]), 5, 10, 4);
    }
    true
}
