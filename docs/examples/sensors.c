/* Six sensors to a position: a network of 6-8-8-3 as somebody wrote it by hand. */
#include <stdint.h>

static const int8_t w0[8][6] = {
    {0, 11, -10, -34, -17, -38},
    {2, 51, -19, -24, 19, 14},
    {4, -35, -1, 26, -51, -17},
    {-72, -49, -70, -9, -48, 10},
    {6, -7, -96, -20, -2, 4},
    {-58, -18, -37, -31, 40, -31},
    {-1, 34, -22, -4, 4, 2},
    {-47, 3, 52, -59, 33, 5},
};
static const int16_t b0[8] = {203, 668, 334, -250, 257, 176, -706, -794};

static const int8_t w1[8][8] = {
    {3, 22, -7, 26, -3, 25, 55, -26},
    {8, -18, 5, -45, -22, -7, 34, 44},
    {-50, -30, 25, -76, -18, -4, 48, 26},
    {-12, -14, -10, 58, -16, -12, 13, -5},
    {-7, -42, 0, -17, 44, 25, -1, 25},
    {-13, 40, 0, 22, -49, 13, -64, -77},
    {-12, -34, 6, 85, -32, -24, 8, 19},
    {-7, -8, 27, 20, -39, -3, 1, -40},
};
static const int16_t b1[8] = {258, -654, 624, -146, 625, 567, 846, -875};

static const int8_t w2[3][8] = {
    {3, -22, -5, -76, -43, 14, -81, 32},
    {-66, 29, -32, 30, 5, -58, 47, 55},
    {-3, -10, -6, -37, 42, -21, -2, -30},
};
static const int16_t b2[3] = {385, 760, -727};

/* v / 2^shift, rounded to the nearest. */
static int32_t divide(int32_t v, int shift)
{
    int32_t half = (int32_t)1 << (shift - 1);
    return v >= 0 ? (v + half) >> shift : -((-v + half) >> shift);
}

static int8_t saturate(int32_t v)
{
    return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v);
}

void position(const int8_t sensors[], int8_t xyz[])
{
    int8_t h0[8], h1[8];

    for (int o = 0; o < 8; o++) {
        int32_t acc = b0[o];
        for (int i = 0; i < 6; i++)
            acc += (sensors[i] + 2) * w0[o][i];
        h0[o] = saturate(divide(acc * 3, 8) - 128); /* zero point -128: ReLU comes with saturation */
    }
    for (int o = 0; o < 8; o++) {
        int32_t acc = b1[o];
        for (int i = 0; i < 8; i++)
            acc += (h0[i] + 128) * w1[o][i];
        h1[o] = saturate(divide(acc * 3, 9) - 128);
    }
    for (int o = 0; o < 3; o++) {
        int32_t acc = b2[o];
        for (int i = 0; i < 8; i++)
            acc += (h1[i] + 128) * w2[o][i];
        xyz[o] = saturate(divide(acc * 5, 10) + 4);
    }
}
