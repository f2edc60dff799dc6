"""The pages of a cache with a million keys, in headless Chromium.

It needs `chromium` and `chromedriver` (Debian: chromium-driver) and the package selenium. Pictures
of the pages are left in the directory that DISKCACHE_SCREENSHOTS names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('selenium')

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait
from test_serve import SCRIPT, Browser, served

import diskcache

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which('chromedriver'), reason='there is no chromedriver'),
    pytest.mark.xdist_group('browser'),
]

MANY = 1_000_000


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A server of a FanoutCache with a million keys, some of which are hostile."""
    directory = str(tmp_path_factory.mktemp('many') / 'cache')
    with diskcache.FanoutCache(directory, 4, size_limit=2**40, statistics=1) as cache:
        for number in range(100_000):
            cache.get(number)
        cache.set_many((f'user:{number:07d}', number % 1000) for number in range(MANY - 5))
        cache.set('\u202e' + SCRIPT, SCRIPT, tag=SCRIPT, expire=100)
        cache.set('page', '<b>bold</b>\n' * 20_000, tag='web', expire=3600)
        cache.set('json', '{"a": [1, 2, {"b": null}]}', tag='web')
        cache.set(('f', 1, None), {'x': [1, 2]}, tag=7)
        cache.set(b'\x00' * 80, os.urandom(100_000))
    with served(directory, write=True) as browser:
        yield browser


@pytest.fixture(params=['wide-light', 'wide-dark', 'narrow-light', 'narrow-dark'])
def driver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Chromium with scripts switched off, in a window of a size and a colour scheme."""
    width, scheme = request.param.split('-')
    options = webdriver.ChromeOptions()
    for argument in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage'):
        options.add_argument(argument)
    options.binary_location = shutil.which('chromium')
    options.add_experimental_option(
        'prefs', {'profile.managed_default_content_settings.javascript': 2}
    )
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    service = webdriver.ChromeService(shutil.which('chromedriver'))
    driver = webdriver.Chrome(options, service)
    size = {'width': 390 if width == 'narrow' else 1280, 'height': 900, 'mobile': False}
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {**size, 'deviceScaleFactor': 1})
    driver.execute_cdp_cmd(
        'Emulation.setEmulatedMedia',
        {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]},
    )
    driver.look = request.param
    yield driver
    driver.quit()


def picture(driver: Any, name: str) -> None:
    """Keep a picture of the page, if somebody wants to look at it."""
    directory = os.environ.get('DISKCACHE_SCREENSHOTS')
    if directory:
        driver.save_screenshot(str(Path(directory, f'{driver.look}-{name}.png')))


def follow(driver: Any, how: str, what: str) -> None:
    """Click on something that leads to another page, and wait for that."""
    page = driver.find_element(By.TAG_NAME, 'html')
    driver.find_element(how, what).click()
    WebDriverWait(driver, 30).until(staleness_of(page))


def is_too_wide(driver: Any) -> bool:
    """Whether the page as a whole has to be scrolled sideways."""
    metrics = driver.execute_cdp_cmd('Page.getLayoutMetrics', {})
    return metrics['cssContentSize']['width'] > metrics['cssLayoutViewport']['clientWidth']


def test_a_reader_goes_through_a_million_keys(server: Browser, driver: Any) -> None:
    driver.get(server.server.url)
    assert f'{MANY:,}' in driver.find_element(By.TAG_NAME, 'dl').text
    pages = {'overview': ''}
    picture(driver, 'overview')
    assert not is_too_wide(driver)

    follow(driver, By.LINK_TEXT, 'Items')
    picture(driver, 'items')
    first = driver.find_element(By.CSS_SELECTOR, 'td code').text
    follow(driver, By.LINK_TEXT, 'Next page')
    assert driver.find_element(By.CSS_SELECTOR, 'td code').text > first

    search = driver.find_element(By.NAME, 'q')
    search.send_keys('user:0999')
    follow(driver, By.XPATH, '//button[text()="Search"]')
    assert "'user:0999" in driver.find_element(By.CSS_SELECTOR, 'td code').text

    for choice, text in (('contains', '999983'), ('contains', '<script>')):
        search = driver.find_element(By.NAME, 'q')
        search.clear()
        search.send_keys(text)
        driver.find_element(By.CSS_SELECTOR, f'input[value={choice}]').click()
        follow(driver, By.XPATH, '//button[text()="Search"]')
        while not driver.find_elements(By.CSS_SELECTOR, 'td code'):
            follow(driver, By.LINK_TEXT, 'Search on')
        assert driver.find_element(By.CSS_SELECTOR, 'td code').text
    picture(driver, 'found')
    assert not is_too_wide(driver)

    follow(driver, By.CSS_SELECTOR, 'td code')
    assert SCRIPT in driver.find_element(By.CSS_SELECTOR, 'pre').text
    picture(driver, 'item')
    assert not is_too_wide(driver)

    for name in ('Next to go', 'Plots'):
        follow(driver, By.LINK_TEXT, name)
        picture(driver, name.replace(' ', '-'))
        assert not is_too_wide(driver)
    assert driver.find_elements(By.CSS_SELECTOR, 'svg rect')

    for q in ('page', 'json'):
        driver.get(f'{server.server.url}items?q={q}')
        follow(driver, By.CSS_SELECTOR, 'td code')
        picture(driver, q)
        assert not is_too_wide(driver)
    pages['json'] = driver.find_element(By.CSS_SELECTOR, 'pre').text
    assert '"b": null' in pages['json']

    problems = [entry['message'] for entry in driver.get_log('browser')]
    assert [text for text in problems if 'favicon' not in text] == []


def test_a_form_deletes_an_item(server: Browser, driver: Any) -> None:
    number = ('wide-light', 'wide-dark', 'narrow-light', 'narrow-dark').index(driver.look)
    driver.get(f'{server.server.url}items?q=user:000000{number}')
    follow(driver, By.CSS_SELECTOR, 'td code')
    follow(driver, By.CSS_SELECTOR, 'button.change')
    assert '1 item removed.' in driver.find_element(By.CSS_SELECTOR, '.said').text
    driver.get(f'{server.server.url}items?q=user:000000{number}')
    assert 'No items.' in driver.find_element(By.TAG_NAME, 'main').text
