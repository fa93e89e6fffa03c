"""The flows that every huggingface_hub from 1.6 on must pass, against HF_ENDPOINT as the user `admin`."""

import hashlib
import inspect
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import huggingface_hub
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

api = HfApi()
seed = random.Random(7)
print("huggingface_hub", huggingface_hub.__version__)


def expect(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


def identity():
    me = api.whoami()
    assert me["name"] == "admin" and me["type"] == "user", me
    assert me["auth"]["accessToken"]["role"] == "write", me


def lifecycle():
    url = api.create_repo("admin/life", private=True)
    assert url.repo_id == "admin/life", url
    expect(HfHubHTTPError, lambda: api.create_repo("admin/life"))
    api.create_repo("life", exist_ok=True)
    info = api.model_info("admin/life")
    assert info.private and len(info.sha) == 40, info
    assert [s.rfilename for s in info.siblings] == [".gitattributes"], info
    api.update_repo_settings("admin/life", private=False)
    assert not api.model_info("admin/life").private
    api.move_repo("admin/life", "admin/lived")
    assert api.model_info("admin/life").id == "admin/lived"
    assert api.repo_exists("admin/lived")
    api.delete_repo("admin/lived")
    expect(RepositoryNotFoundError, lambda: api.model_info("admin/lived"))
    api.delete_repo("admin/lived", missing_ok=True)


def branches():
    api.create_repo("admin/refs", repo_type="dataset")
    kind = {"repo_type": "dataset"}
    api.create_branch("admin/refs", branch="dev", **kind)
    api.create_branch("admin/refs", branch="dev", exist_ok=True, **kind)
    expect(HfHubHTTPError, lambda: api.create_branch("admin/refs", branch="dev", **kind))
    api.create_tag("admin/refs", tag="v1.0", tag_message="one", **kind)
    expect(HfHubHTTPError, lambda: api.create_tag("admin/refs", tag="v1.0", **kind))
    refs = api.list_repo_refs("admin/refs", **kind)
    assert [b.name for b in refs.branches] == ["dev", "main"], refs
    assert [t.name for t in refs.tags] == ["v1.0"], refs
    api.delete_tag("admin/refs", tag="v1.0", **kind)
    expect(RevisionNotFoundError, lambda: api.delete_tag("admin/refs", tag="v1.0", **kind))
    api.delete_branch("admin/refs", branch="dev", **kind)
    expect(RevisionNotFoundError, lambda: api.dataset_info("admin/refs", revision="dev"))


def small_files():
    api.create_repo("admin/small")
    commit = api.create_commit(
        "admin/small",
        operations=[
            CommitOperationAdd("README.md", b"---\nlicense: mit\ntags: [so101]\n---\n# Hi\n"),
            CommitOperationAdd("config.json", b'{"type": "act"}'),
            CommitOperationAdd("a/b/c.txt", b"deep"),
            CommitOperationAdd("empty.txt", b""),
        ],
        commit_message="first",
        commit_description="with words",
    )
    assert "/commit/" in commit.commit_url and len(commit.oid) == 40
    info = api.model_info("admin/small", files_metadata=True)
    assert info.sha == commit.oid
    assert "so101" in info.tags and "license:mit" in info.tags, info.tags
    assert info.card_data["license"] == "mit"
    sizes = {s.rfilename: s.size for s in info.siblings}
    assert sizes["a/b/c.txt"] == 4 and sizes["empty.txt"] == 0, sizes
    path = hf_hub_download("admin/small", "config.json")
    assert Path(path).read_bytes() == b'{"type": "act"}'
    expect(EntryNotFoundError, lambda: hf_hub_download("admin/small", "none.json"))
    expect(RevisionNotFoundError, lambda: hf_hub_download("admin/small", "config.json", revision="none"))
    tree = {e.path for e in api.list_repo_tree("admin/small", recursive=True)}
    assert tree == {".gitattributes", "README.md", "config.json", "a", "a/b", "a/b/c.txt", "empty.txt"}, tree
    flat = {e.path for e in api.list_repo_tree("admin/small", "a")}
    assert flat == {"a/b"}, flat
    expect(EntryNotFoundError, lambda: list(api.list_repo_tree("admin/small", "zzz")))
    found = api.get_paths_info("admin/small", ["a/b", "config.json", "none"], expand=True)
    assert [e.path for e in found] == ["a/b", "config.json"], found
    assert found[1].last_commit.oid == commit.oid
    assert len(found[1].blob_id) == 40
    again = api.create_commit(
        "admin/small",
        operations=[CommitOperationDelete("a/", is_folder=True), CommitOperationAdd("x.txt", b"x")],
        commit_message="second",
        parent_commit=commit.oid,
    )
    expect(
        HfHubHTTPError,
        lambda: api.create_commit(
            "admin/small",
            operations=[CommitOperationAdd("y.txt", b"y")],
            commit_message="stale",
            parent_commit=commit.oid,
        ),
    )
    commits = api.list_repo_commits("admin/small")
    assert [c.commit_id for c in commits[:2]] == [again.oid, commit.oid], commits
    assert commits[1].title == "first" and "words" in commits[1].message, commits[1]
    assert api.file_exists("admin/small", "x.txt") and not api.file_exists("admin/small", "a/b/c.txt")
    names = [m.id for m in api.list_models(author="admin", filter="so101")]
    assert names == ["admin/small"], names
    expect(
        HfHubHTTPError,
        lambda: api.create_commit("admin/small", [CommitOperationAdd("X.txt", b"x")], commit_message="case"),
    )
    expect(
        Exception,
        lambda: api.create_commit(
            "admin/small", [CommitOperationAdd("README.md", b"---\na: [1\n---\n")], commit_message="yaml"
        ),
    )


def noise(count):
    return seed.randbytes(count)


def large_files(folder):
    source = folder / "source"
    (source / "data").mkdir(parents=True)
    (source / "big.bin").write_bytes(noise(9_000_000) + bytes(3_000_000))
    (source / "data" / "small.bin").write_bytes(noise(1000))
    (source / "data" / "text.txt").write_text("hello\n")
    api.create_repo("admin/large", repo_type="dataset")
    first = api.upload_folder(repo_id="admin/large", repo_type="dataset", folder_path=source)
    target = snapshot_download("admin/large", repo_type="dataset", local_dir=folder / "copy")
    compare(source, Path(target))
    info = api.get_paths_info("admin/large", ["big.bin"], repo_type="dataset")[0]
    digest = hashlib.sha256((source / "big.bin").read_bytes()).hexdigest()
    assert info.lfs.sha256 == digest and info.size == 12_000_000, info
    # The same again: nothing changes.
    same = api.upload_folder(repo_id="admin/large", repo_type="dataset", folder_path=source)
    assert same.oid == first.oid, (same, first)
    # A little inserted in the middle.
    data = (source / "big.bin").read_bytes()
    (source / "big.bin").write_bytes(data[:5_000_000] + noise(1000) + data[5_000_000:])
    api.upload_folder(repo_id="admin/large", repo_type="dataset", folder_path=source)
    target = snapshot_download("admin/large", repo_type="dataset", local_dir=folder / "copy2")
    compare(source, Path(target))
    old = hf_hub_download("admin/large", "big.bin", repo_type="dataset", revision=first.oid, local_dir=folder / "old")
    assert Path(old).read_bytes() == data
    # A part of it, as safetensors' metadata are read.
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session

    url = hf_hub_url("admin/large", "big.bin", repo_type="dataset", revision=first.oid)
    headers = build_hf_headers() | {"Range": "bytes=4999990-6000009"}
    part = get_session().get(url, headers=headers)
    assert part.status_code == 206 and part.content == data[4_999_990:6_000_010], part


def compare(one, other):
    files = [p.relative_to(one) for p in one.rglob("*") if p.is_file() and ".cache" not in p.parts]
    for path in files:
        assert (one / path).read_bytes() == (other / path).read_bytes(), path


def pull_request():
    api.create_repo("admin/pr")
    commit = api.create_commit(
        "admin/pr", [CommitOperationAdd("a.txt", b"a")], commit_message="offer", create_pr=True
    )
    assert commit.pr_num == 1, commit
    assert not api.file_exists("admin/pr", "a.txt")
    assert api.file_exists("admin/pr", "a.txt", revision="refs/pr/1")


def pull_requests_of_folders(folder):
    """As `hf upload --create-pr`, which opens the pull request before its first commit."""
    source = folder / "offer"
    source.mkdir()
    (source / "a.txt").write_text("a")
    (source / "big.bin").write_bytes(noise(2_000_000))
    command = [str(Path(sys.executable).parent / "hf"), "upload", "admin/offers", str(source), "--create-pr"]
    # The command of 1.6 wants a package that its own requirements have lost since.
    has_command = not huggingface_hub.__version__.startswith("1.6.")
    for number in (1, 2):
        (source / "a.txt").write_text(f"version {number}")
        if has_command:
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:
            api.create_repo("admin/offers", exist_ok=True)
            api.upload_folder(repo_id="admin/offers", folder_path=source, create_pr=True)
    assert not api.file_exists("admin/offers", "a.txt")
    refs = [r.ref for r in api.list_repo_refs("admin/offers", include_pull_requests=True).pull_requests]
    assert refs == ["refs/pr/1", "refs/pr/2"], refs
    for number in (1, 2):
        at = {"revision": f"refs/pr/{number}"}
        assert Path(hf_hub_download("admin/offers", "a.txt", **at)).read_text() == f"version {number}"
        assert Path(hf_hub_download("admin/offers", "big.bin", **at)).read_bytes() == (source / "big.bin").read_bytes()
    opened = api.create_pull_request("admin/offers", title="By hand", description="why")
    assert opened.num == 3 and opened.git_reference == "refs/pr/3" and opened.status == "open", opened
    assert opened.events[0].content == "why" and opened.author == "admin", opened
    titles = [d.title for d in api.get_repo_discussions("admin/offers")]
    assert len(titles) == 3 and titles[0] == "By hand", titles


def storage():
    """Large files as they are listed, and copies on the server. Runs after `large_files`."""
    kind = {"repo_type": "dataset"}
    listed = list(api.list_lfs_files("admin/large", **kind))
    names = {f.filename for f in listed}
    assert "big.bin" in names and len(listed) == 3, names
    newest = next(f for f in listed if f.filename == "big.bin")
    assert newest.ref == "refs/heads/main" and newest.size == 12_001_000, newest
    if hasattr(api, "duplicate_repo"):
        api.duplicate_repo("admin/large", "admin/large-copy", private=True, **kind)
        one, other = api.dataset_info("admin/large"), api.dataset_info("admin/large-copy")
        assert one.sha == other.sha and other.private, other
        history = [c.commit_id for c in api.list_repo_commits("admin/large", **kind)]
        assert [c.commit_id for c in api.list_repo_commits("admin/large-copy", **kind)] == history
        copy = Path(hf_hub_download("admin/large-copy", "big.bin", **kind)).read_bytes()
        assert copy == Path(hf_hub_download("admin/large", "big.bin", **kind)).read_bytes()
        expect(HfHubHTTPError, lambda: api.duplicate_repo("admin/large", "admin/large-copy", exist_ok=False, **kind))
        api.duplicate_repo("admin/large", "admin/large-copy", exist_ok=True, **kind)
    if "src_repo_id" in inspect.signature(CommitOperationCopy).parameters:
        api.create_repo("admin/large-part", **kind)
        moved = CommitOperationCopy("big.bin", "there.bin", src_repo_id="admin/large", src_repo_type="dataset")
        api.create_commit("admin/large-part", [moved], commit_message="copied", **kind)
        copy = Path(hf_hub_download("admin/large-part", "there.bin", **kind)).read_bytes()
        assert copy == Path(hf_hub_download("admin/large", "big.bin", **kind)).read_bytes()


def safetensors_metadata():
    """The header of weights, without the weights: one file, and several with an index."""
    def header(name, begin, end):
        return {name: {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}}

    def weights(fields, length):
        text = json.dumps(fields).encode()
        return len(text).to_bytes(8, "little") + text + noise(length)

    api.create_repo("admin/weights")
    one = weights({"__metadata__": {"format": "pt"}} | header("a", 0, 4_000_000), 4_000_000)
    api.create_commit("admin/weights", [CommitOperationAdd("model.safetensors", one)], commit_message="one")
    found = api.get_safetensors_metadata("admin/weights")
    assert not found.sharded and found.parameter_count == {"F32": 1_000_000}, found
    assert found.files_metadata["model.safetensors"].metadata == {"format": "pt"}
    api.create_repo("admin/sharded")
    parts = {f"model-0000{n}-of-00002.safetensors": f"layer{n}" for n in (1, 2)}
    files = {part: weights(header(layer, 0, 400_000), 400_000) for part, layer in parts.items()}
    index = {"metadata": {"total_size": 800_000}, "weight_map": {layer: part for part, layer in parts.items()}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    adds = [CommitOperationAdd(path, data) for path, data in files.items()]
    api.create_commit("admin/sharded", adds, commit_message="two")
    found = api.get_safetensors_metadata("admin/sharded")
    assert found.sharded and found.parameter_count == {"F32": 200_000}, found
    assert found.weight_map == {layer: part for part, layer in parts.items()}, found


def strangers():
    other = HfApi(token=False)
    api.create_repo("admin/secret", private=True)
    expect(RepositoryNotFoundError, lambda: other.model_info("admin/secret"))
    expect(HfHubHTTPError, lambda: other.create_repo("admin/theirs"))
    expect(HfHubHTTPError, lambda: HfApi(token="hf_wrong").whoami())
    assert other.model_info("admin/small").id == "admin/small"


if __name__ == "__main__":
    folder = Path("work").absolute()
    folder.mkdir()
    names = sys.argv[1:] or [
        "identity",
        "lifecycle",
        "branches",
        "small_files",
        "large_files",
        "storage",
        "safetensors_metadata",
        "pull_request",
        "pull_requests_of_folders",
        "strangers",
    ]
    for name in names:
        step = globals()[name]
        step(folder) if inspect.signature(step).parameters else step()
        print("passed", name, flush=True)
    os._exit(0)
