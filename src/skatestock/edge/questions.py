"""What the application is asked, once for all who want the same answer at the same time."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from skatestock.edge.deadlines import Deadlines
from skatestock.edge.direct import AnswerDirectly, Finished
from skatestock.edge.entries import LONGEST_SECONDS, Entry, Kept
from skatestock.edge.errors import DeadlineError
from skatestock.edge.finishing import Finishing
from skatestock.edge.memory import Memory
from skatestock.edge.question import Question
from skatestock.edge.requests import App, Message, Request, make_plain
from skatestock.edge.shared import SharedAnswers
from skatestock.edge.sharing import LARGEST_BODY, ShareRules
from skatestock.edge.validity import Stamp
from skatestock.telemetry.logs import get_logger

_log = get_logger(__name__)


class Sources(NamedTuple):
    """Where answers come from, and where they are kept."""

    app: App
    answer_directly: AnswerDirectly | None
    memory: Memory
    shared: SharedAnswers | None
    rules: ShareRules
    finish: Callable[[Request], Finishing]
    """Makes what finishes an answer that is for one alone."""
    timeout_seconds: float


class Questions:
    """All questions of one process that are not answered yet: each address is asked for once at a time."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.deadlines = Deadlines(sources.timeout_seconds)
        self._open: dict[bytes, Question] = {}
        # also those that nobody may join any more
        self._asking: set[Question] = set()

    def find(self, address: bytes) -> Question | None:
        """Return the question for this address that one may join."""
        question = self._open.get(address)
        return None if question is None or question.is_passing else question

    async def ask(self, request: Request, stamp: Stamp) -> Question:
        """Ask a new question, as the one who came first; returns when nothing more comes for him."""
        loop = asyncio.get_running_loop()
        question = Question(request, stamp, loop.create_future())
        self._open[request.address] = question
        self._asking.add(question)
        self.deadlines.begin(question, loop)
        question.task = loop.create_task(self._ask(question))
        try:
            await question.leader
        except asyncio.CancelledError:
            if question.is_passing:
                question.cancel()
            raise
        return question

    async def close(self) -> None:
        """End what is still asked; idempotent."""
        self.deadlines.close()
        asking = list(self._asking)
        for question in asking:
            question.cancel()
        tasks = [question.task for question in asking if question.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        for question in asking:
            # one whose task had not begun yet has not done this itself
            self._end(question)

    def settle(self, question: Question, kept: Kept, body: bytes, tags: tuple[str, ...]) -> None:
        """Give an answer of the application to all who wait, and keep it."""
        request, sources = question.request, self.sources
        entry = Entry(request.address, kept, body, tags, question.stamp, request.now + LONGEST_SECONDS)
        if sources.shared is not None:
            sources.shared.keep(entry)
        self._land(question, entry)

    async def _ask(self, question: Question) -> None:
        """Find the answer in Redis, or by the application; whatever comes of it, all who wait are woken."""
        shared = self.sources.shared
        try:
            entry = None
            if shared is not None:
                entry = await shared.find(question.request.address, question.stamp)
            if entry is None:
                await self._ask_application(question)
            else:
                question.is_shared = True
                self._land(question, entry)
        except asyncio.CancelledError:
            if not question.is_late:
                raise
            self._fail(question, DeadlineError(f"no answer within {self.sources.timeout_seconds:g} s"))
        except Exception as error:
            # No boundary: the one who asked first raises it again.
            self._fail(question, error)
        finally:
            self._end(question)

    async def _ask_application(self, question: Question) -> None:
        """Ask by the short way, if there is one that leads somewhere, or else by messages."""
        scope = question.request.scope
        make_plain(scope)
        answer_directly = self.sources.answer_directly
        begun = None if answer_directly is None else answer_directly(scope)
        finished = None if begun is None else await begun
        if finished is None:
            messages = Messages(self, question)
            await self.sources.app(scope, messages.receive, messages.send)
            return
        kept = None
        if finished.tags and len(finished.body) <= LARGEST_BODY:
            kept = self.sources.rules.choose(finished.headers)
        if kept is None:
            await Messages(self, question).send_finished(finished)
        else:
            self.settle(question, kept, finished.body, finished.tags)

    def _land(self, question: Question, entry: Entry) -> None:
        self.sources.memory.keep(entry)
        question.entry = entry
        self._stop_waiting(question)

    def _fail(self, question: Question, error: Exception) -> None:
        question.error = error
        if question.leader.done():
            # he has left, or has his answer already: nobody else tells of it
            path = question.request.scope["path"]
            _log.error("edge_question_failed", request_id=question.request.id, path=path, exc_info=error)

    def _stop_waiting(self, question: Question) -> None:
        """Wake all who wait, and let nobody join any more; idempotent."""
        self.deadlines.end(question)
        address = question.request.address
        if self._open.get(address) is question:
            del self._open[address]
        question.release()

    def _end(self, question: Question) -> None:
        self._asking.discard(question)
        if question.entry is None:
            self._stop_waiting(question)


class Messages:
    """What the application receives and sends, held back until it is clear what its answer is.

    One that may be shared settles the question; any other is passed on to the one who asked first, as it
    comes.
    """

    def __init__(self, questions: Questions, question: Question) -> None:
        self._questions = questions
        self._question = question
        self._is_asked = False
        self._start: Message | None = None
        self._kept: Kept | None = None
        self._tags: tuple[str, ...] = ()
        self._chunks: list[bytes] = []
        self._length = 0
        self._finishing: Finishing | None = None
        self._passes = asyncio.Event()

    async def receive(self) -> Any:
        """Give the application the request: it has no body, and nobody leaves while others may wait."""
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._passes.wait()
        return await self._question.request.receive_rest()

    async def send(self, message: Any) -> None:
        """Take the application's answer."""
        if self._finishing is not None:
            await self._finishing.send(message)
        elif message["type"] == "http.response.start":
            await self._take_start(message)
        elif message["type"] == "http.response.body":
            await self._take_body(message)
        else:
            await self._pass_on(message)

    async def send_finished(self, finished: Finished) -> None:
        """Pass an answer on that came whole, and is for one alone."""
        length = (b"content-length", b"%d" % len(finished.body))
        headers = [*finished.headers, length]
        await self._pass_on({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await self.send({"type": "http.response.body", "body": finished.body, "more_body": False})

    async def _take_start(self, message: Message) -> None:
        self._questions.deadlines.end(self._question)
        rules = self._questions.sources.rules
        self._tags, self._kept = rules.read(message["status"], message.get("headers", ()))
        self._start = message
        if self._kept is None:
            await self._pass_on()

    async def _take_body(self, message: Message) -> None:
        if self._question.entry is not None:
            return
        chunk = message.get("body", b"")
        self._length += len(chunk)
        if self._length > LARGEST_BODY or self._kept is None:
            await self._pass_on(message)
            return
        self._chunks.append(bytes(chunk))
        if not message.get("more_body", False):
            self._questions.settle(self._question, self._kept, b"".join(self._chunks), self._tags)

    async def _pass_on(self, further: Message | None = None) -> None:
        """Give out what was held back, and everything from now on as it comes."""
        self._finishing = self._questions.sources.finish(self._question.request)
        self._question.pass_on()
        self._passes.set()
        if self._start is not None:
            await self._finishing.send(self._start)
        for chunk in self._chunks:
            await self._finishing.send({"type": "http.response.body", "body": chunk, "more_body": True})
        if further is not None:
            await self._finishing.send(further)
