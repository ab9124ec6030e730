"""The harness in C; marks such as @INPUTS@ stand for what :mod:`intnn.conform.harness` puts there."""

SOURCE = """\
/*
 * A device for `intnn conform` around your own @prefix@_run: @MODEL@
 *
 * On a PC:    cc harness.c model.c && intnn conform MODEL --cmd ./a.out
 * In firmware: define @PREFIX@_FIRMWARE, write @prefix@_get and @prefix@_put for your UART, call @prefix@_serve.
 */
#include <stdint.h>

void @prefix@_run(const @X_TYPE@ x[@INPUTS@], @Y_TYPE@ y[@OUTPUTS@]);
void @prefix@_serve(void);

#define OPERATIONS "run" /* and, as soon as you answer them below: layer dense requantize */
#define LINE @LONG@ /* the longest line, 63 to 4095. None is stored; UARTs that lose bytes take 63. */
#define STRING(x) #x
#define VALUE(x) STRING(x)

#ifdef @PREFIX@_FIRMWARE
int @prefix@_get(void); /* waits for a byte, and gives it; a negative number ends @prefix@_serve */
void @prefix@_put(char c);
#else
#include <stdio.h>
static int @prefix@_get(void) { return getchar(); }
static void @prefix@_put(char c)
{
    putchar(c);
    if (c == '\\n') fflush(stdout);
}
int main(void)
{
    @prefix@_serve();
    return 0;
}
#endif

enum { INPUTS = @INPUTS@, OUTPUTS = @OUTPUTS@, CAPACITY = @LONGEST_INPUT@, A_LINE = (LINE - 10) / 7 };
enum { SKIP = -1, WRONG = -2 };
enum { HELLO, X, RUN, LAYER, DENSE, REQUANTIZE, COMMANDS };
static const char *const names[] = {"hello", "x", "run", "layer", "dense", "requantize"};
static const int needs[] = {0, 0, 0, 1, 1, 3, 0}; /* arguments before the values */

static int16_t vector[CAPACITY]; /* the values sent */
static int count;
static int16_t result[@LONGEST_OUTPUT@];

/* Put the answer into result; return how many values it has, or SKIP, or WRONG. */
static int carry_out(int command, const int32_t *argument)
{
    static @X_TYPE@ x[INPUTS];
    static @Y_TYPE@ y[OUTPUTS];
    int i;
    (void)argument;
    switch (command) {
    case RUN:
        if (count != INPUTS) return WRONG;
        for (i = 0; i < INPUTS; i++) x[i] = (@X_TYPE@)vector[i];
        @prefix@_run(x, y);
        for (i = 0; i < OUTPUTS; i++) result[i] = y[i];
        return OUTPUTS;
    case LAYER: /* to be filled in: the outputs of layer argument[0] during an inference on vector */
        return SKIP;
    case DENSE: /* to be filled in: layer argument[0] alone on vector */
        return SKIP;
    case REQUANTIZE: /* to be filled in: neuron argument[1] of layer argument[0] from the accumulator argument[2] */
        return SKIP;
    default:
        return command == COMMANDS ? SKIP : count; /* hello, x */
    }
}

/* From here on nothing needs a change: words in, words out. */

static char word[12]; /* the word last read, and the byte after it */
static int end;

static void read_word(void)
{
    int n = 0;
    while ((end = @prefix@_get()) >= 0 && end != ' ' && end != '\\n') {
        if (end == '\\r') continue;
        if (n == 11) word[0] = '?'; /* too long for anything */
        else word[n++] = (char)end;
    }
    word[n] = 0;
}

static int is_integer(int32_t *v)
{
    const char *c = word + (word[0] == '-');
    int32_t n = 0; /* minus the absolute value */
    if (!*c) return 0;
    for (; *c; c++) {
        if (*c < '0' || *c > '9' || n < (INT32_MIN + (*c - '0')) / 10) return 0;
        n = n * 10 - (*c - '0');
    }
    if (word[0] != '-' && n == INT32_MIN) return 0;
    *v = word[0] == '-' ? n : -n;
    return 1;
}

static int is_word(const char *name)
{
    const char *c = word;
    while (*c && *c == *name) c++, name++;
    return *c == *name;
}

static void put(const char *text)
{
    while (*text) @prefix@_put(*text++);
}

static void put_integer(int32_t v)
{
    char digits[10];
    int n = 0;
    uint32_t u = v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
    if (v < 0) @prefix@_put('-');
    do digits[n++] = (char)('0' + u % 10); while ((u /= 10) != 0);
    while (n) @prefix@_put(digits[--n]);
}

void @prefix@_serve(void)
{
    for (;;) {
        int32_t id = -1, v, argument[3] = {0, 0, 0};
        int command = 0, given = 0, wrong = 0, before = count, n, i;
        read_word();
        if (!is_integer(&id)) id = -1;
        if (end == ' ') read_word();
        else word[0] = 0;
        while (command < COMMANDS && !is_word(names[command])) command++;
        if (command == HELLO) count = 0;
        while (end == ' ') {
            read_word();
            if (!is_integer(&v)) wrong = 1;
            else if (given < needs[command]) argument[given++] = v;
            else if (count == CAPACITY) wrong = 1;
            else vector[count++] = (int16_t)v;
        }
        if (end < 0) return;
        if (id < 0 || id > 65535) { /* no request */
            count = before;
            continue;
        }
        n = command == COMMANDS ? SKIP : wrong || given < needs[command] ? WRONG : carry_out(command, argument);
        put_integer(id);
        if (n == SKIP) put(" skip");
        else if (n == WRONG || (command == HELLO && n)) put(" error");
        else if (command == HELLO) put(" @VERSION@ @HASH@ " VALUE(LINE) " " OPERATIONS);
        else if (command == X) put(" ok");
        else for (i = 0; i < n; i++) {
            if (i && i % A_LINE == 0) @prefix@_put('\\n'), put_integer(id);
            if (i % A_LINE == 0) put(n - i > A_LINE ? " more" : " ok");
            @prefix@_put(' ');
            put_integer(result[i]);
        }
        @prefix@_put('\\n');
        if (command != X || n < 0) count = 0;
    }
}
"""
