"""The notebooks in JupyterLab and a real browser: every cell runs, and the explorer's slider draws another picture."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))
START, RUN = 120, 900  # seconds, for a busy machine: Lab and a kernel take about ten, a notebook at smoke up to forty
SETTINGS = {
    # Without windowing, cells out of sight are in the page too.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none", "scrollPastEnd": False},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # a container's is small
    "--window-size=1400,2000",
]

# What the cells show: their execution prompts; errors, and what stderr says of one (Lab gives both a mime type), and
# figures in words, for which no picture was made.
PROMPTS = "return [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent.trim())"
ERRORS = """return [...document.querySelectorAll('.jp-CodeCell')].flatMap((cell, i) =>
    [...cell.querySelectorAll('[data-mime-type]')]
    .filter(o => o.dataset.mimeType.endsWith('jupyter.error') || o.textContent.trim().startsWith('<Figure size')
        || o.dataset.mimeType.endsWith('jupyter.stderr') && o.textContent.includes('Traceback'))
    .map(o => `code cell ${i + 1}: ${o.textContent}`))"""
BYTES = """const [image, done] = arguments;
    fetch(image.src).then(r => r.arrayBuffer()).then(b => done(String(new Uint8Array(b)))).catch(() => done(''))"""


def program(*names):
    """The path of the first of these programs that is there; the test fails when none is."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(f"no {names[0]} on the PATH; on Debian: apt-get install chromium chromium-driver", pytrace=False)
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the notebooks whose preset is smoke: its process, and address(path, **query)."""
    tmp = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", tmp / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(ROOT / "environment.yml", tmp)  # with notebooks/, what ralkit.course.project.project_root looks for
    # First the .ipynb, then the .py: jupytext in Lab reads the inputs of the younger of a pair.
    for path in [*(tmp / "notebooks").glob("*.ipynb"), *(tmp / "notebooks/py").glob("*.py")]:
        text, changes = re.subn(r'^(\s*"?preset = \\?")deep', r"\1smoke", path.read_text(), flags=re.M)
        assert changes == 1, f"{path.name}: no parameter preset"
        path.write_text(text)

    (tmp / "config/labconfig").mkdir(parents=True)
    (tmp / "config/labconfig/default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    quiet = {"news_url": None, "check_for_updates_class": "jupyterlab.NeverCheckForUpdate"}
    (tmp / "config/jupyter_lab_config.json").write_text(json.dumps({"LabApp": quiet}))
    token = secrets.token_hex(16)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | {"JUPYTER_TOKEN": token}
    for name in ("CONFIG", "DATA", "RUNTIME"):
        environment[f"JUPYTER_{name}_DIR"] = str(tmp / name.lower())
    environment["IPYTHONDIR"] = str(tmp / "ipython")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "notebooks", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []

    def address(path):
        return f"http://127.0.0.1:{port}/{path}?token={token}"

    log = tmp / "lab.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=tmp, env=environment, stdout=out, stderr=out) as process:
        try:
            wait_for_server(address("api/status"), process, log)
            yield address
        finally:
            process.terminate()  # it shuts its kernels down
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_server(url, process, log):
    """Return when the server answers; fail with the end of its log if it ends or does not."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail("JupyterLab did not start:\n" + log.read_text()[-3000:], pytrace=False)


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium with a new, empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "chromium-browser", "google-chrome")
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(program("chromedriver")))  # a path: nothing is fetched
    driver.set_script_timeout(60)
    yield driver
    driver.save_screenshot(tmp_path / "last.png")
    driver.quit()


def wait(browser, seconds, condition, what):
    """The value of condition(), once it is true."""
    waiting = WebDriverWait(browser, seconds, 0.5, ignored_exceptions=[StaleElementReferenceException])
    try:
        return waiting.until(lambda _: condition())
    except TimeoutException:
        pytest.fail(f"{seconds} seconds passed without {what}", pytrace=False)


def find(browser, css, text=""):
    """The first visible one of these elements that has `text`, or None."""
    elements = browser.find_elements(By.CSS_SELECTOR, css)
    return next((e for e in elements if e.is_displayed() and text in e.text), None)


def choose(browser, menu, command):
    """Click a command of a menu of Lab's menu bar."""
    wait(browser, START, lambda: find(browser, ".lm-MenuBar-item", menu), f"the menu {menu}").click()
    wait(browser, START, lambda: find(browser, f".lm-Menu-item[data-command='{command}']"), command).click()


def is_idle(browser):
    # Not the status bar: that of JupyterLab 4.6 does not hear of a kernel that began before it did.
    return find(browser, ".jp-Notebook-ExecutionIndicator[data-status='idle']")


def has_finished(browser):
    """Whether every code cell has its number; an error, after which the others never get one, fails the test."""
    errors = browser.execute_script(ERRORS)
    if errors:
        pytest.fail("\n".join(errors), pytrace=False)
    prompts = browser.execute_script(PROMPTS)
    return prompts and all(re.fullmatch(r"\[\d+\]:", p) for p in prompts) and is_idle(browser)


def picture(browser, image):
    """The bytes of the picture, as text; "" while it is being replaced."""
    return browser.execute_async_script(BYTES, image)


def photograph(browser, folder):
    """Screenshots of the notebook from top to end, page after page."""
    panel = find(browser, ".jp-Notebook .jp-WindowedPanel-outer") or find(browser, ".jp-Notebook")
    height, page = browser.execute_script("return [arguments[0].scrollHeight, arguments[0].clientHeight]", panel)
    for number, top in enumerate(range(0, height, page - 50)):
        browser.execute_script("arguments[0].scrollTop = arguments[1]", panel, top)
        time.sleep(0.3)  # to be painted
        browser.save_screenshot(folder / f"page-{number:02}.png")


def move_the_slider(browser):
    """Move the first slider; another picture must come."""
    image = wait(browser, START, lambda: find(browser, ".widget-vbox img.widget-image"), "an explorer's picture")
    before = wait(browser, START, lambda: picture(browser, image), "the picture's bytes")
    slider = wait(browser, START, lambda: find(browser, ".widget-vbox .noUi-handle"), "a slider above the picture")
    at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    slider.send_keys(3 * (Keys.ARROW_LEFT if at_end else Keys.ARROW_RIGHT))
    wait(browser, START, lambda: picture(browser, image) not in ("", before), "another picture for the moved slider")
    wait(browser, START, lambda: has_finished(browser), "an idle kernel after that")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_reader_s_notebook(name, lab, browser, tmp_path):
    browser.get(lab(f"lab/workspaces/{name}/tree/{name}.ipynb"))  # its own: another test's tabs are not opened again
    wait(browser, START, lambda: is_idle(browser), "an idle kernel")
    choose(browser, "View", "notebook:show-all-cell-code")  # the solutions too: a hidden cell shows no number
    choose(browser, "Run", "runmenu:run-all")
    wait(browser, RUN, lambda: has_finished(browser), "the end of the last cell")

    if "widgets.explore(" in (ROOT / f"notebooks/py/{name}.py").read_text():
        move_the_slider(browser)
    photograph(browser, tmp_path)
