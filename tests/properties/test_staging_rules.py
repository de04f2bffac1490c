"""Laws of the room for copies: it is bounded, and whatever asks when, everyone gets in."""

from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.storage.staging_rules import Stillness, automatic_limit, fits

SIZES = st.lists(st.integers(0, 20), min_size=1, max_size=6)


class _Machine:
    """Actors that take their items in order, decoders that hold copies until their turn, one queue."""

    def __init__(self, actors: list[list[int]], limit_bytes: int) -> None:
        self.left = {
            (actor, turn): size for actor, sizes in enumerate(actors) for turn, size in enumerate(sizes)
        }
        self.limit_bytes = limit_bytes
        self.queue: list[tuple[int, int]] = []
        self.held: dict[tuple[int, int], int] = {}
        self.over: set[tuple[int, int]] = set()
        """Entered over the bound."""
        self.entered: list[tuple[int, int]] = []

    def in_turn(self, item: tuple[int, int]) -> bool:
        return item == min(other for other in self.left if other[0] == item[0])

    def enter(self, *, overdue: bool) -> bool:
        """Let the first of the queue in, if the rules do."""
        if not self.queue:
            return False
        item = self.queue[0]
        room = fits(self.left[item], self.held.values(), self.limit_bytes)
        if room or overdue:
            self.held[item] = self.left[item]
            self.entered.append(item)
            if not room:
                self.over.add(item)
            del self.queue[0]
        return room or overdue

    def release(self) -> bool:
        """Some item whose turn it is is taken; its copy goes."""
        item = next((item for item in self.held if self.in_turn(item)), None)
        if item is None:
            return False
        del self.held[item], self.left[item]
        self.over.discard(item)
        return True

    def check(self) -> None:
        within = [size for item, size in self.held.items() if item not in self.over]
        assert sum(within) <= self.limit_bytes or len(self.held) == 1 or len(within) == 1


@given(st.lists(SIZES, min_size=1, max_size=3), st.integers(0, 30), st.data())
def test_everyone_gets_in_whatever_the_order(actors, limit_bytes, data):
    machine = _Machine(actors, limit_bytes)
    to_ask = data.draw(st.permutations(sorted(machine.left)))
    machine.queue = list(to_ask)
    while machine.left:
        # Only where nothing can move does the clock run out.
        moved = machine.enter(overdue=False) or machine.release()
        assert moved or machine.enter(overdue=True)
        machine.check()
    assert machine.entered == to_ask


@given(st.lists(SIZES, min_size=1, max_size=3), st.integers(0, 30), st.data())
def test_in_the_order_of_turns_nobody_needs_to_go_over_the_bound(actors, limit_bytes, data):
    machine = _Machine(actors, limit_bytes)
    turns = dict.fromkeys(range(len(actors)), 0)
    for actor in data.draw(st.permutations([actor for actor, _ in machine.left])):
        machine.queue.append((actor, turns[actor]))
        turns[actor] += 1
    while machine.left:
        assert machine.enter(overdue=False) or machine.release()
        machine.check()
    assert not machine.over


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_the_automatic_bound_does_not_follow_what_copies_take(total, written):
    written = min(written, total)
    assert automatic_limit(total - written, written) == automatic_limit(total, 0) <= total


def test_any_move_starts_the_wait_anew():
    now = 0.0
    still = Stillness(10.0, lambda: now)
    told = []
    for now, state in ((0.0, "a"), (9.0, "a"), (9.5, "b"), (19.0, "b"), (19.5, "b"), (20.0, "c")):  # noqa: B007
        told.append(still.lasts(state))
    assert told == [False, False, False, False, True, False]
