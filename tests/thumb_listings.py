"""Machine code for the Cortex-M0 with its cycles, counted by hand from the timing tables of the two cores.

A row is (encoding, assembly, cycles on the Cortex-M0, cycles on the Cortex-M0+); an encoding of 8 digits is a 32-bit
instruction, its first halfword the lower one. ``tests/targets`` has an assembler check every encoding. N is the number
of registers in a list.
"""

Row = tuple[int, str, int, int]

# Data processing: 1 cycle each, MULS too (single-cycle multiplier). BX: 3, 2.
DATA: list[Row] = [
    (0x2005, "movs r0, #5", 1, 1),
    (0x0001, "movs r1, r0", 1, 1),
    (0x1842, "adds r2, r0, r1", 1, 1),
    (0x3207, "adds r2, r2, #7", 1, 1),
    (0x3AC8, "subs r2, #200", 1, 1),
    (0x4142, "adcs r2, r0", 1, 1),
    (0x4253, "rsbs r3, r2, #0", 1, 1),
    (0x4343, "muls r3, r0, r3", 1, 1),
    (0x2B01, "cmp r3, #1", 1, 1),
    (0x42C3, "cmn r3, r0", 1, 1),
    (0x4543, "cmp r3, r8", 1, 1),
    (0x4203, "tst r3, r0", 1, 1),
    (0x4003, "ands r3, r0", 1, 1),
    (0x404B, "eors r3, r1", 1, 1),
    (0x430B, "orrs r3, r1", 1, 1),
    (0x438B, "bics r3, r1", 1, 1),
    (0x43CB, "mvns r3, r1", 1, 1),
    (0x010B, "lsls r3, r1, #4", 1, 1),
    (0x410B, "asrs r3, r1", 1, 1),
    (0x41CB, "rors r3, r1", 1, 1),
    (0x4698, "mov r8, r3", 1, 1),
    (0x4498, "add r8, r3", 1, 1),
    (0xA902, "add r1, sp, #8", 1, 1),
    (0xA101, "adr r1, .+6", 1, 1),
    (0xB25A, "sxtb r2, r3", 1, 1),
    (0xB29A, "uxth r2, r3", 1, 1),
    (0xBA1A, "rev r2, r3", 1, 1),
    (0xBADA, "revsh r2, r3", 1, 1),
    (0x46C0, "nop", 1, 1),
    (0x4770, "bx lr", 3, 2),
]

# Every load and store of one register: 2 cycles. ADD and SUB on sp: 1.
SINGLE: list[Row] = [
    (0x6841, "ldr r1, [r0, #4]", 2, 2),
    (0x2208, "movs r2, #8", 1, 1),
    (0x5881, "ldr r1, [r0, r2]", 2, 2),
    (0x8841, "ldrh r1, [r0, #2]", 2, 2),
    (0x5A81, "ldrh r1, [r0, r2]", 2, 2),
    (0x5E81, "ldrsh r1, [r0, r2]", 2, 2),
    (0x7841, "ldrb r1, [r0, #1]", 2, 2),
    (0x5C81, "ldrb r1, [r0, r2]", 2, 2),
    (0x5681, "ldrsb r1, [r0, r2]", 2, 2),
    (0x6041, "str r1, [r0, #4]", 2, 2),
    (0x5081, "str r1, [r0, r2]", 2, 2),
    (0x80C1, "strh r1, [r0, #6]", 2, 2),
    (0x5281, "strh r1, [r0, r2]", 2, 2),
    (0x70C1, "strb r1, [r0, #3]", 2, 2),
    (0x5481, "strb r1, [r0, r2]", 2, 2),
    (0xB082, "sub sp, #8", 1, 1),
    (0x9101, "str r1, [sp, #4]", 2, 2),
    (0x9901, "ldr r1, [sp, #4]", 2, 2),
    (0x4900, "ldr r1, .+4", 2, 2),
    (0xB002, "add sp, #8", 1, 1),
    (0x4770, "bx lr", 3, 2),
]

# LDM, STM, PUSH and POP: 1 + N.
MULTIPLE: list[Row] = [
    (0xB410, "push {r4}", 2, 2),
    (0xB5F0, "push {r4, r5, r6, r7, lr}", 6, 6),
    (0xC80E, "ldmia r0!, {r1, r2, r3}", 4, 4),
    (0xC006, "stmia r0!, {r1, r2}", 3, 3),
    (0xC803, "ldmia r0, {r0, r1}", 3, 3),
    (0xBCF0, "pop {r4, r5, r6, r7}", 5, 5),
    (0xBC06, "pop {r1, r2}", 3, 3),
    (0x4770, "bx lr", 3, 2),
]

# Branches. Taken: 3, 2; not taken: 1. BL: 4, 3. BLX: 3, 2. ADD and MOV to pc: 3, 2. POP with pc: 4 + N, 3 + N.
# What is skipped costs nothing.
BRANCHES: list[Row] = [
    (0xB510, "push {r4, lr}", 3, 3),
    (0xE000, "b .+4", 3, 2),
    (0xDE00, "udf #0", 0, 0),
    (0x4280, "cmp r0, r0", 1, 1),
    (0xD1FD, "bne .-2", 1, 1),
    (0xD000, "beq .+4", 3, 2),
    (0xDE01, "udf #1", 0, 0),
    (0x4679, "mov r1, pc", 1, 1),  # 4 beyond itself: at the BLX
    (0x3109, "adds r1, #9", 1, 1),  # the PUSH behind the POP, bit 0 set: Thumb
    (0x4788, "blx r1", 3, 2),
    (0xF801F000, "bl .+6", 4, 3),
    (0xBD10, "pop {r4, pc}", 6, 5),
    (0xB500, "push {lr}", 2, 2),  # from BLX and BL alike: counted again below
    (0x2200, "movs r2, #0", 1, 1),
    (0x4497, "add pc, r2", 3, 2),  # pc reads as 4 beyond itself
    (0xDE02, "udf #2", 0, 0),
    (0xBD00, "pop {pc}", 5, 4),
]
SUBROUTINE = 12  # the row that the subroutine starts with; it runs twice

# A loop of r0 = 10 turns: its branch is taken 9 times.
LOOP: list[Row] = [
    (0x200A, "movs r0, #10", 1, 1),
    (0x3801, "subs r0, #1", 1, 1),
    (0xD1FD, "bne .-2", 1, 1),
    (0x46F7, "mov pc, lr", 3, 2),
]

# A frame made by a register's value: 200 bytes, and a word pushed below it. Then that frame is left in the same way,
# and two words are pushed where it was.
FRAME: list[Row] = [
    (0x466B, "mov r3, sp", 1, 1),
    (0x22C8, "movs r2, #200", 1, 1),
    (0x4252, "rsbs r2, r2, #0", 1, 1),
    (0x4495, "add sp, r2", 1, 1),
    (0xB401, "push {r0}", 2, 2),
    (0xE7FF, "b .+2", 3, 2),
    (0x469D, "mov sp, r3", 1, 1),
    (0xB406, "push {r1, r2}", 3, 3),
    (0xB002, "add sp, #8", 1, 1),
    (0x4770, "bx lr", 3, 2),
]

# Blocks that read two tables, at 0x100 and 0x110.
TABLES: list[Row] = [
    (0x2101, "movs r1, #1", 1, 1),
    (0xE7FF, "b .+2", 3, 2),
    (0x0209, "lsls r1, r1, #8", 1, 1),
    (0x680A, "ldr r2, [r1, #0]", 2, 2),  # the first table
    (0xE7FF, "b .+2", 3, 2),
    (0x2303, "movs r3, #3", 1, 1),
    (0xE7FF, "b .+2", 3, 2),
    (0x7C0A, "ldrb r2, [r1, #16]", 2, 2),  # the second table
    (0x4770, "bx lr", 3, 2),
]

LISTINGS = {
    "data": DATA,
    "single": SINGLE,
    "multiple": MULTIPLE,
    "branches": BRANCHES,
    "loop": LOOP,
    "frame": FRAME,
    "tables": TABLES,
}


def machine_code(rows: list[Row]) -> bytes:
    """The bytes of a listing; an encoding beyond 16 bits takes four."""
    return b"".join(row[0].to_bytes(4 if row[0] > 0xFFFF else 2, "little") for row in rows)
