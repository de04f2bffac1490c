"""Deadlines of actors: silence ends them, any sign of life does not."""

from bitmill.jobs.scheduling.heartbeat import ASK_EVERY_S, HeartbeatMonitor


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_actor_whose_pulse_stands_still_is_overdue_and_one_that_moves_is_not():
    clock = Clock()
    watch = HeartbeatMonitor(60, clock)
    watch.alive(0)
    watch.alive(1)
    for signs in range(13):
        clock.now += ASK_EVERY_S
        watch.heartbeat(0, 7)
        watch.heartbeat(1, signs)
        # The first answer tells nothing yet, so it counts as one sign.
        assert watch.overdue([0, 1]) == []
    clock.now += ASK_EVERY_S
    watch.heartbeat(1, 99)
    assert watch.overdue([0, 1]) == [0]
    watch.forget(0)
    assert watch.overdue([0, 1]) == []


def test_only_silent_actors_are_asked_and_not_all_the_time():
    clock = Clock()
    watch = HeartbeatMonitor(60, clock)
    watch.alive(0)
    watch.alive(1)
    assert watch.to_ask([0, 1]) == []
    clock.now += ASK_EVERY_S
    watch.alive(1)
    assert watch.to_ask([0, 1]) == [0]
    assert watch.to_ask([0, 1]) == []
    clock.now += ASK_EVERY_S
    assert watch.to_ask([0, 1]) == [0, 1]
