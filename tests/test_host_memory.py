"""How much memory a capture will have to write, from what the kernel says."""

from glowplug.host import memory

ROLLUP = """\
55d0c0a00000-7ffd2b5f3000 ---p 00000000 00:00 0                          [rollup]
Rss:                9000 kB
Pss:                5000 kB
Pss_Anon:            300 kB
Pss_File:            100 kB
Pss_Shmem:            40 kB
Anonymous:           300 kB
Swap:               7000 kB
SwapPss:            7000 kB
"""


def test_what_is_swapped_out_is_written_too() -> None:
    assert memory.counted(ROLLUP.splitlines()) == (300 + 40 + 7000) * 1024


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert memory.to_dump([2**22 + 1]) == 0
