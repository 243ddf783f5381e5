"""A server that wants a token: the page asks for it, and goes on."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import SCREENSHOTS, Complaints
from tests.browser.editor import Editor
from tests.server.http.house import serve

TOKEN = "a token of forty letters, as one should be"


def test_the_page_asks_for_the_token(page: Page, complaints: Complaints, tmp_path: Path) -> None:
    complaints.expected = ["401 (Unauthorized)", "WebSocket connection"]
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    with serve(tmp_path / "data", "--token-file", str(file), ready=False) as server:
        editor = Editor(page, server.url, SCREENSHOTS)
        page.goto(server.url)
        field = editor.dialog.get_by_label("Token")
        expect(field).to_be_focused()
        assert page.locator(".react-flow__node").count() == 0, "nothing is shown to strangers"
        page.keyboard.type("guessed")
        page.keyboard.press("Enter")
        expect(editor.dialog.get_by_role("alert")).to_have_text("This is not the server's token.")
        editor.shot("login")
        field.fill(TOKEN)
        page.keyboard.press("Enter")
        expect(editor.dialog).to_be_hidden()
        expect(editor.node("image")).to_be_visible()
        cookies = page.context.cookies()
        assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Strict")]
        page.reload()
        expect(editor.node("image")).to_be_visible()
        expect(editor.dialog).to_be_hidden()
        page.goto("about:blank")  # before the server ends: the page would look for it
