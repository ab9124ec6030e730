/* The same, but with one rounding where the model has two: the zero of the ADC is 0, outputs are int8 with ReLU at -128. */
#include <stdint.h>

#define INPUTS 3
#define OUTPUTS 2

static const int8_t weights[OUTPUTS][INPUTS] = {{12, -3, 70}, {-128, 5, 40}};
static const int16_t bias[OUTPUTS] = {1000, -2000};

/* x / 2^s, rounded to the nearest, ties up; s > 0. */
static int32_t round_shift(int32_t x, int s)
{
    x += (int32_t)1 << (s - 1);
    return x < 0 ? ~(~x >> s) : x >> s;
}

void infer(const int16_t *adc, int8_t *out)
{
    for (int o = 0; o < OUTPUTS; o++) {
        int32_t acc = bias[o];
        for (int i = 0; i < INPUTS; i++)
            acc += (int32_t)adc[i] * weights[o][i];
        acc = round_shift(acc * 100, 18) - 128;
        if (acc < -128)
            acc = -128;
        out[o] = (int8_t)acc;
    }
}
