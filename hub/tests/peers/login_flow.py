"""Logging in by device as `hf auth login` does, and what the client reads from rate-limit headers."""

import os
import urllib.parse
import urllib.request

from huggingface_hub import HfApi, constants
from huggingface_hub.utils import get_session, parse_ratelimit_headers
from huggingface_hub.utils._oauth_device import poll_device_token, request_device_code

login = request_device_code()
page = urllib.request.urlopen(login["verification_uri_complete"]).read().decode()
assert login["user_code"] in page, page
form = {"code": login["user_code"], "name": "ada", "password": "correct horse", "decision": "allow"}
address = f"{constants.ENDPOINT}/login/device"
said = urllib.request.urlopen(address, urllib.parse.urlencode(form).encode()).read().decode()
assert "logged in" in said, said
token = poll_device_token(login)["access_token"]
me = HfApi(token=token).whoami()
assert me["name"] == "ada" and me["auth"]["accessToken"]["role"] == "write", me
print("passed login", flush=True)

response = get_session().get(f"{constants.ENDPOINT}/api/models", headers={"authorization": f"Bearer {token}"})
limit = parse_ratelimit_headers(response.headers)
assert limit.remaining < limit.limit == 1000 and 0 < limit.reset_in_seconds <= 300, limit
print("passed rate limit", flush=True)
os._exit(0)
