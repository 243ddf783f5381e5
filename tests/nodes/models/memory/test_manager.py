"""Modules in memory: lent, counted, and let go within a budget; on plain modules, with a clock of our own."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from graphcore import StepgraphError
from graphcore.runtime import _notes
from nodes.models.adapters import patches
from nodes.models.memory import budget, placement
from nodes.models.memory import manager as memory
from nodes.models.memory.manager import Held, Memory

FLOAT = 4
GPU = "cpu:0"
"""A name of the CPU under which its memory is counted apart: it stands for a GPU in these tests."""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """A memory, and modules with known size, worth and content to bring into it."""

    def __init__(self, limit: int, cpu_limit: int = 10**9) -> None:
        self.clock, self.limits = Clock(), budget.Budget()
        self.limits.set(limit, GPU)
        self.limits.set(cpu_limit, placement.CPU)
        self.memory = Memory(self.limits, self.clock)
        self.made: Counter[str] = Counter()

    def borrow(self, key: str, floats: int = 10, seconds: float = 1.0, **more: Any) -> Held:
        def make() -> torch.nn.Module:
            self.clock.now += seconds
            self.made[key] += 1
            return module(key, floats)

        more = {"device": GPU, "name": key, "expected": floats * FLOAT, **more}
        return self.memory.get(key, more.get("during")) or self.memory.bring(key, make, **more)

    def variant(self, key: str, base: Held, extra: int = 0, seconds: float = 0.1) -> Held:
        def make() -> torch.nn.Module:
            self.clock.now += seconds
            self.made[key] += 1
            made = patches.copy_modules(base.module)
            if extra:
                made.register_parameter("extra", frozen(key, extra))
            return made

        return self.memory.get(key) or self.memory.bring(key, make, name=key, device=GPU, base=base)

    def use(self, key: str, *arguments: Any, **more: Any) -> None:
        self.memory.give_back(self.borrow(key, *arguments, **more))

    @property
    def there(self) -> set[str]:
        return {part.name for part in self.memory.report().parts}


def frozen(key: str, floats: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.full((floats,), float(sum(key.encode()))), requires_grad=False)


def module(key: str, floats: int) -> torch.nn.Module:
    """A parameter and a buffer full of a number that only this key has."""
    made = torch.nn.Module()
    made.register_parameter("weight", frozen(key, floats - 1))
    made.register_buffer("buffer", frozen(key, 1).data)
    return made


def intact(held: Held, key: str) -> bool:
    """Whether the content of a plain module is what its key says."""
    return all(bool((tensor == sum(key.encode())).all()) for tensor in placement.tensors(held.module))


def true_bytes(modules: list[torch.nn.Module]) -> int:
    """Bytes of distinct tensors, counted the plain way."""
    sizes = {tensor.data_ptr(): tensor.nbytes for one in modules for tensor in placement.tensors(one)}
    return sum(sizes.values())


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "is_accelerator", lambda device: device == GPU)


@pytest.mark.parametrize(
    ("parts", "stays"),
    [
        ({"a": (10, 1.0), "b": (10, 2.0)}, "b"),  # equal sizes: the cheap one leaves
        ({"a": (10, 2.0), "b": (10, 1.0)}, "a"),
        ({"a": (18, 1.5), "b": (2, 1.0)}, "b"),  # per byte
        ({"a": (10, 1.0), "b": (10, 1.0)}, "b"),  # equal worth: the one used longest ago
    ],
)
def test_what_is_worth_least_per_byte_leaves(parts: dict[str, tuple[int, float]], stays: str) -> None:
    shop = Shop(20 * FLOAT)
    for key, (floats, seconds) in parts.items():
        shop.use(key, floats, seconds)
    shop.use("c", 2, 1.0)
    assert shop.there == {stays, "c"}


@settings(deadline=None, max_examples=150)
@given(
    worth=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 9)), min_size=4, max_size=6),
    calls=st.lists(st.integers(0, 5), max_size=40),
    room=st.integers(9, 30),
)
def test_replacement_is_greedy_dual_size(worth: list[tuple[int, int]], calls: list[int], room: int) -> None:
    """As the paper states it: H(p) = L + cost / size at each use; the least H leaves, and L becomes that H."""
    shop = Shop(room * FLOAT)
    ranks: dict[int, float] = {}
    level = 0.0
    for call in calls:
        page = call % len(worth)
        size, cost = worth[page][0], worth[page][1] + page / 97  # hardly two of equal rank
        while page not in ranks and sum(worth[other][0] for other in ranks) + size > room:
            level = min(ranks.values())
            del ranks[min(ranks, key=ranks.__getitem__)]
        ranks.pop(page, None)
        ranks[page] = level + cost / (size * FLOAT)
        shop.use(str(page), size, cost)
        if len(set(ranks.values())) < len(ranks):
            return  # of equal ranks either may leave
        assert shop.there == {str(page) for page in ranks}


def test_what_is_in_use_never_leaves_and_too_much_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    token = _notes.set(said.append)
    try:
        shop = Shop(15 * FLOAT)
        first = shop.borrow("a")
        second = shop.borrow("b")
        assert shop.there == {"a", "b"}
        assert intact(first, "a")
        assert len(said) == 1
        assert "b: weights in use take" in said[0]
        shop.memory.give_back(first)
        shop.memory.give_back(second)
        shop.use("large", 100)
        assert shop.there == {"large"}
        assert len(said) == 2
        shop.use("c")
        assert shop.there == {"c"}
        assert len(said) == 2
    finally:
        _notes.reset(token)


def test_room_is_made_before_loading() -> None:
    """The peak counts, not only what is left: at the time of loading, the old module is already gone."""
    shop = Shop(10 * FLOAT)
    gone = weakref.ref(shop.borrow("a").module)
    shop.memory.give_back(next(iter(shop.memory._held.values())))

    def make() -> torch.nn.Module:
        assert gone() is None
        return module("b", 10)

    shop.memory.give_back(shop.memory.bring("b", make, name="b", device=GPU, expected=40))


def test_variants_share_with_their_base_and_count_once() -> None:
    shop = Shop(1000)
    base = shop.borrow("base", 20)
    one, two = shop.variant("one", base), shop.variant("two", base, extra=5)
    assert one.module.weight is base.module.weight
    assert one.module.buffer is base.module.buffer
    assert shop.memory.bytes() == 25 * FLOAT == true_bytes([held.module for held in (base, one, two)])
    assert {part.name: part.bytes for part in shop.memory.report().parts} == {"base": 80, "one": 0, "two": 20}


def test_what_variants_share_among_themselves_counts_once_too() -> None:
    shop, shared = Shop(1000), frozen("shared", 5)
    base = shop.borrow("base", 20)
    for key in ("one", "two"):
        made = patches.copy_modules(base.module)
        made.register_parameter("extra", shared)
        shop.memory.give_back(shop.memory.bring(key, lambda made=made: made, name=key, device=GPU, base=base))
    assert shop.memory.bytes() == 25 * FLOAT
    assert shop.memory.free_idle() == 5 * FLOAT
    shop.memory.give_back(base)


def test_a_base_whose_variant_is_in_use_stays_and_is_not_loaded_again() -> None:
    shop = Shop(30 * FLOAT)
    base = shop.borrow("base", 20)
    variant = shop.variant("variant", base, extra=5)
    shop.memory.give_back(base)
    assert shop.memory.free_idle() == 0
    shop.use("other", 30)
    assert shop.there == {"base", "variant", "other"}
    shop.memory.give_back(variant)
    assert shop.memory.free_idle() == 55 * FLOAT
    assert shop.memory.bytes() == 0
    assert shop.made == {"base": 1, "variant": 1, "other": 1}


def test_variants_leave_before_their_base_when_they_alone_make_room() -> None:
    shop = Shop(30 * FLOAT)
    base = shop.borrow("base", 20)
    shop.memory.give_back(shop.variant("idle", base, extra=5))
    shop.use("other", 10)
    assert shop.there == {"base", "other"}
    shop.memory.give_back(base)
    shop.use("large", 30)
    assert shop.there == {"large"}


def test_a_family_leaves_as_one() -> None:
    shop = Shop(30 * FLOAT)
    base = shop.borrow("base", 20)
    shop.memory.give_back(shop.variant("variant", base))
    shop.memory.give_back(base)
    shop.use("other", 20)
    assert shop.there == {"other"}
    assert shop.memory.report().drops == 2


@pytest.mark.usefixtures("_gpu")
def test_what_leaves_an_accelerator_waits_in_cpu_memory() -> None:
    shop = Shop(20 * FLOAT, cpu_limit=25 * FLOAT)
    base = shop.borrow("a", 15)
    variant = shop.variant("a2", base, extra=2, seconds=9.0)
    for held in (base, variant):
        shop.memory.give_back(held)
    before = base.module.weight.data_ptr()
    shop.use("b", 20)
    assert shop.memory.report().bytes == {GPU: 20 * FLOAT, "cpu": 17 * FLOAT}
    assert base.module.weight.data_ptr() != before
    assert variant.module.weight is base.module.weight
    again = shop.variant("a2", shop.borrow("a"))
    assert again is variant
    assert shop.made == {"a": 1, "a2": 1, "b": 1}
    assert intact(base, "a")
    assert variant.module.buffer is base.module.buffer
    report = shop.memory.report()
    assert report.bytes == {GPU: 17 * FLOAT, "cpu": 20 * FLOAT}
    assert (report.loads, report.moves, report.drops) == (3, 3, 0)


@pytest.mark.usefixtures("_gpu")
def test_without_room_in_cpu_memory_it_is_dropped() -> None:
    shop = Shop(20 * FLOAT, cpu_limit=15 * FLOAT)
    shop.use("a", 20)
    shop.use("b", 12, 1.0)
    assert shop.there == {"b"}
    shop.use("c", 12, 9.0)
    assert shop.memory.report().bytes == {GPU: 12 * FLOAT, "cpu": 12 * FLOAT}
    shop.use("d", 12)  # what is worth more there pushes out what is worth less
    assert shop.there == {"c", "d"}


@pytest.mark.usefixtures("_gpu")
def test_a_failed_move_leaves_it_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(20 * FLOAT)
    shop.use("a", 20)
    shop.use("b", 20)

    def full(modules: object, device: str) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(placement, "move", full)
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            shop.use("a", 20)  # there is nothing to drop: b could not be moved, so it was dropped
    assert shop.there == {"a"}
    assert shop.memory.report().bytes == {"cpu": 80}
    shop.use("a", 20)
    assert shop.made == {"a": 1, "b": 1}
    assert shop.memory.report().bytes == {GPU: 80}
    assert shop.memory.bytes() == true_bytes([held.module for held in shop.memory._held.values()])


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize(("offload", "limit"), [("", 20), ("cpu", 100)])
def test_two_modules_change_places(offload: str, limit: int) -> None:
    """Neither is loaded twice where CPU memory has room for one."""
    shop = Shop(limit * FLOAT, cpu_limit=20 * FLOAT)
    for _ in range(3):
        shop.use("a", 20, offload=offload)
        shop.use("b", 20, offload=offload)
    assert shop.made == {"a": 1, "b": 1}
    assert shop.memory.report().moves == 1 + 2 * 4


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize(("offload", "places"), [("", {GPU: 10}), ("cpu", {GPU: 5, "cpu": 5}), ("disk", {GPU: 5})])
def test_offloaded_parts_leave_when_another_comes(offload: str, places: dict[str, int]) -> None:
    shop = Shop(1000)
    shop.use("a", 5, offload=offload)
    shop.use("a", 5, offload=offload)
    assert shop.made == {"a": 1}
    shop.use("b", 5, offload=offload)
    assert shop.memory.report().bytes == {place: floats * FLOAT for place, floats in places.items()}


class Run:
    """What modules are needed for."""


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize("offload", ["cpu", "disk"])
def test_offloaded_parts_of_one_loop_stay_as_long_as_the_budget_holds_them(offload: str) -> None:
    """Each leaves once, for the next; when the first is needed again, in the same run, nothing leaves for it."""
    shop, run = Shop(100 * FLOAT), Run()
    shop.use("text", 5, offload=offload, during=run)
    for _ in range(4):
        for key in ("control", "other control", "unet"):
            shop.use(key, 10, offload=offload, during=run)
    assert shop.memory.bytes(GPU) == 30 * FLOAT
    moves, made = shop.memory.report().moves, shop.made.total()
    assert (moves, made) == ((3 + 2, 4) if offload == "cpu" else (0, 4 + 2))
    shop.use("vae", 5, offload=offload, during=run)
    assert shop.memory.bytes(GPU) == 5 * FLOAT, "the loop has ended: all leave for what was not there before"


@pytest.mark.usefixtures("_gpu")
def test_a_budget_for_one_lets_them_take_turns_and_another_run_begins_anew() -> None:
    tight, run = Shop(10 * FLOAT), Run()
    for _ in range(3):
        for key in ("control", "unet"):
            tight.use(key, 10, offload="cpu", during=run)
            assert tight.memory.bytes(GPU) == 10 * FLOAT
    shop = Shop(100 * FLOAT)
    for during in (Run(), Run(), None, None):
        for key in ("text", "unet"):
            shop.use(key, 10, offload="cpu", during=during)
            assert shop.memory.bytes(GPU) == 10 * FLOAT


def test_only_circles_of_references_are_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search takes longer than to load a small model."""
    searches: list[int] = []
    monkeypatch.setattr(memory.gc, "collect", lambda: searches.append(collect()))
    shop = Shop(1000 * FLOAT)
    base = shop.borrow("a")
    shop.memory.give_back(shop.variant("a+", base, extra=5))
    shop.memory.give_back(base)
    del base
    assert shop.memory.free_idle() == 15 * FLOAT
    assert not searches
    held = shop.borrow("circle")
    held.module.itself = [held.module]  # type: ignore[assignment]
    gone = weakref.ref(held.module.weight)
    shop.memory.give_back(held)
    del held
    shop.memory.free_idle()
    assert len(searches) == 1
    assert gone() is None


collect = gc.collect


def allocator_error() -> RuntimeError:
    """What torch says when CPU memory is full, in its own words."""
    try:
        torch.empty(1 << 46, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError("64 TiB were there")


@pytest.mark.parametrize("error", [allocator_error(), MemoryError(), torch.OutOfMemoryError("x"), OSError(12, "full")])
def test_loading_is_tried_again_without_what_is_idle(error: Exception) -> None:
    shop, attempts = Shop(1000), []
    shop.use("idle")

    def make() -> torch.nn.Module:
        attempts.append(shop.there)
        if len(attempts) == 1:
            raise error
        return module("new", 10)

    shop.memory.give_back(shop.memory.bring("new", make, name="new", device=GPU))
    assert attempts == [{"idle"}, set()]
    assert shop.there == {"new"}


def test_a_full_machine_has_one_name() -> None:
    shop = Shop(1000)

    def make() -> torch.nn.Module:
        raise allocator_error()

    with pytest.raises(torch.OutOfMemoryError, match=r"you tried to allocate.*after 0 MiB of idle weights were freed"):
        shop.memory.bring("new", make, name="new", device=GPU)
    assert shop.there == set()
    with pytest.raises(torch.OutOfMemoryError, match="you tried to allocate"), memory.full_memory_by_its_name():
        torch.empty(1 << 46, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="must match") as caught, memory.full_memory_by_its_name():
        torch.ones(2) + torch.ones(3)
    assert not memory.is_out_of_memory(caught.value)


def test_other_errors_leave_nothing_and_are_not_tried_again() -> None:
    shop, attempts = Shop(1000), []

    def make() -> torch.nn.Module:
        attempts.append(1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        shop.memory.bring("new", make, name="new", device=GPU)
    assert attempts == [1]
    assert shop.memory.report().parts == ()
    shop.use("new")


@pytest.mark.usefixtures("_gpu")
def test_many_threads_and_little_room() -> None:
    """Each borrowed module is whole for as long as it is borrowed, whatever else comes and goes."""
    shop = Shop(35 * FLOAT, cpu_limit=20 * FLOAT)
    keys = ["a", "b", "c", "d", "e"]

    def work(seed: int) -> bool:
        good = True
        for step in range(60):
            key = keys[(seed * 7 + step * (seed + 1)) % len(keys)]
            held = shop.borrow(key, offload="cpu" if key == "e" else "")
            good &= intact(held, key) and held.place == GPU
            if step % 9 == 8:
                shop.memory.free_idle()
            good &= intact(held, key) and held.place == GPU
            shop.memory.give_back(held)
            del held  # what leaves then needs no search for who still has it
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert not any(part.users for part in shop.memory.report().parts)
    assert shop.memory.bytes() == true_bytes([held.module for held in shop.memory._held.values()])


class Sequences(RuleBasedStateMachine):
    """Any sequence of borrowing, patching, giving back and freeing, with little room on two devices."""

    @initialize(limit=st.integers(0, 60), cpu_limit=st.integers(0, 60))
    def begin(self, limit: int, cpu_limit: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(placement, "is_accelerator", lambda device: device == GPU)
        self.shop = Shop(limit * FLOAT, cpu_limit * FLOAT)
        self.borrowed: list[tuple[str, Held]] = []
        self.seen: list[weakref.ref[torch.nn.Module]] = []

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(key=st.sampled_from("abc"), offload=st.booleans())
    def borrow(self, key: str, offload: bool) -> None:
        more = {"offload": {"a": "", "b": "cpu", "c": "disk"}[key]} if offload else {}
        before = self.shop.made[key]
        held = self.shop.borrow(key, 5 * (ord(key) - 95), 1.0 / (ord(key) - 95), **more)
        self.keep(key, held)
        if self.shop.made[key] > before and self.shop.memory.bytes(GPU) > self.shop.limits.of(GPU):
            users = [one.root for _, one in self.borrowed]
            on_gpu = [one for one in self.shop.memory._held.values() if one.root.place == GPU]
            assert all(one.root in users for one in on_gpu), "something idle stayed though there was no room"

    @rule(key=st.sampled_from("abc"), extra=st.sampled_from([0, 3]))
    def borrow_variant(self, key: str, extra: int) -> None:
        base = self.shop.borrow(key, 5 * (ord(key) - 95))
        try:
            self.keep("", held := self.shop.variant(f"{key}{extra}", base, extra))
            assert held.module.weight is base.module.weight
            assert intact(base, key)
        finally:
            self.shop.memory.give_back(base)

    def keep(self, key: str, held: Held) -> None:
        self.borrowed.append((key, held))
        self.seen.append(weakref.ref(held.module))

    @precondition(lambda self: self.borrowed)
    @rule(number=st.integers(0, 99))
    def give_back(self, number: int) -> None:
        self.shop.memory.give_back(self.borrowed.pop(number % len(self.borrowed))[1])

    @rule()
    def free_idle(self) -> None:
        before, freed = self.shop.memory.bytes(), self.shop.memory.free_idle()
        assert self.shop.memory.bytes() == before - freed
        roots = {id(held.root) for _, held in self.borrowed}
        assert all(id(held.root) in roots for held in self.shop.memory._held.values())

    @invariant()
    def in_use_is_there_and_whole(self) -> None:
        held = [*self.shop.memory._held.values()]
        for key, one in self.borrowed:
            assert one in held
            assert one.root in held
            assert one.root.place == GPU
            assert not key or intact(one, key)

    @invariant()
    def bytes_are_those_of_the_tensors(self) -> None:
        held = [*self.shop.memory._held.values()]
        assert self.shop.memory.bytes() == true_bytes([one.module for one in held])
        for place, bytes_ in self.shop.memory.report().bytes.items():
            assert bytes_ == true_bytes([one.module for one in held if one.root.place == place])

    @invariant()
    def cpu_memory_is_within_its_budget(self) -> None:
        assert self.shop.memory.bytes(placement.CPU) <= self.shop.limits.of(placement.CPU)

    @invariant()
    def what_has_left_is_gone(self) -> None:
        there = {id(one.module) for one in self.shop.memory._held.values()}
        assert all(ref() is None or id(ref()) in there for ref in self.seen)


TestSequences = Sequences.TestCase
TestSequences.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(
    ("text", "count"),
    [("6GiB", 6 * 2**30), ("800 MB", 800_000_000), ("1.5 gib", 3 * 2**29), ("12345", 12345), ("2kb", 2000)],
)
def test_sizes_in_words(text: str, count: int) -> None:
    assert budget.size(text) == count


@pytest.mark.parametrize("text", ["", "six GiB", "-1GiB", "6 TiB", "GiB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(StepgraphError, match="is no size"):
        budget.size(text)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> budget.Budget:
    monkeypatch.delenv(budget.VARIABLE, raising=False)
    return budget.Budget()


def test_a_limit_is_set_or_stated_or_a_share_of_what_is_free(
    limits: budget.Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    assert 0 < limits.of("cpu") <= budget.SHARE * psutil.virtual_memory().total
    assert limits.of("cpu") == limits.of("cpu")
    monkeypatch.setenv(budget.VARIABLE, "6GiB")
    assert limits.of("cpu") == limits.of("cuda:0") == 6 * 2**30
    limits.set("1MiB", "cpu")
    limits.set(7, "cuda:0")
    assert (limits.of("cpu"), limits.of("cuda:0")) == (2**20, 7)
    limits.set(None, "cpu")
    assert limits.of("cpu") == 6 * 2**30
    monkeypatch.setenv(budget.VARIABLE, "much")
    with pytest.raises(StepgraphError, match="STEPGRAPH_WEIGHTS_LIMIT"):
        limits.of("cpu")
