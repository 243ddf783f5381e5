"""Which looks at the disk the event loop does itself."""

from __future__ import annotations

from server.http.pace import IN_A_ROW, LATE_SECONDS, MOST_NAMES, PENANCE, SWIFT_SECONDS, Pace

QUICK, SLOW = SWIFT_SECONDS / 2, SWIFT_SECONDS * 2


def test_what_was_quick_in_a_thread_is_done_on_the_loop() -> None:
    pace = Pace()
    assert not pace.swift("new"), "nothing is known of it"
    pace.there("new", SLOW)
    assert not pace.swift("new")
    pace.there("new", QUICK)
    assert pace.swift("new")
    assert not pace.swift("other")


def test_what_is_slow_again_and_again_on_the_loop_goes_to_a_thread() -> None:
    pace = Pace()
    pace.there("grown", QUICK)
    for took in ([SLOW] * (IN_A_ROW - 1) + [QUICK]) * 3:
        pace.here("grown", took)
        assert pace.swift("grown"), "the machine was busy, perhaps"
    for _ in range(IN_A_ROW):
        assert pace.swift("grown")
        pace.here("grown", SLOW)
    assert not pace.swift("grown")
    pace.there("grown", QUICK)
    assert pace.swift("grown"), "it was the machine"
    pace.here("grown", SLOW)
    assert pace.swift("grown")


def test_what_kept_the_loop_waiting_goes_to_threads_for_a_while() -> None:
    pace = Pace()
    pace.there("slow disk", QUICK)
    pace.here("slow disk", LATE_SECONDS * 2)
    for _ in range(PENANCE):
        assert not pace.swift("slow disk")
        pace.there("slow disk", QUICK)
    assert pace.swift("slow disk")


def test_a_look_that_costs_much_stays_in_threads() -> None:
    pace = Pace()
    for _ in range(3 * PENANCE):
        pace.there("large", SLOW)
        assert not pace.swift("large")


def test_names_are_forgotten_before_they_are_too_many() -> None:
    pace = Pace()
    for number in range(10 * MOST_NAMES):
        pace.there(f"w{number}", QUICK)
        assert pace.swift(f"w{number}")
    assert sum(pace.swift(f"w{number}") for number in range(10 * MOST_NAMES)) <= MOST_NAMES
