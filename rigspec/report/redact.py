"""Text fit for a public issue: addresses, serials, keys and paths replaced, by stable names.

The same value gets the same name within one report, so that rows can still be compared. PCI bus
addresses stay: they tell a place on the board, not a person. Loopback and wildcard addresses stay.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import field, replace

from rigspec.frozen import dataclass
from rigspec.verify.verdict import Verdict

_HEX = "[0-9A-Fa-f]"
_UUID = re.compile(
    rf"\b(?:GPU|MIG)-{_HEX}{{8}}[\w-]*|\b{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}\b|"
    rf"(?<=UUID=)[\w-]+|(?<![\w:]){_HEX}{{32}}(?!\w)"
)
"""The last form is a machine id; digests of images and revisions have 64 and 40 digits."""
_MAC = re.compile(
    rf"(?<![\w:-]){_HEX}{{2}}([:-])(?:{_HEX}{{2}}\1){{4,6}}{_HEX}{{2}}(?![\w:-])|"
    rf"(?<![\w.])(?:{_HEX}{{4}}\.){{2}}{_HEX}{{4}}(?![\w.])"
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6 = re.compile(
    rf"(?<![\w:.])(?:{_HEX}{{0,4}}:){{2,7}}{_HEX}{{0,4}}(?:%[\w.-]*\w)?(?![\w:]|\.\w)"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@\"']+(?:@[^\s/@\"']+)*@")
"""User and password in an address."""
_URL_HOST = re.compile(
    r"(?<=://)(?:\[key\]@)?((?:[A-Za-z0-9_-]+\.)*[A-Za-z][\w-]*(?:\.[\w-]+)*)(?=[:/\s,;)\"']|$)"
)
_REGISTRY = re.compile(
    r"(?<![\w./@-])((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})(?=:\d+/|/[\w.-]+(?:/[\w.-]+)*[:@])"
)
_LOCAL_HOST = re.compile(
    r"(?i)(?<![\w.-])(?:[a-z0-9][\w-]*\.)+(?:lan|local|home|internal|intranet|corp|localdomain"
    r"|home\.arpa|ts\.net)(?![\w-])|\bip(?:-\d{1,3}){4}\b"
)
_PUBLIC = re.compile(
    r"(?i)(?:^|\.)(?:huggingface\.co|hf\.co|docker\.(?:io|com)|ghcr\.io|nvcr\.io|nvidia\.com"
    r"|github\.com|githubusercontent\.com|debian\.org|ubuntu\.com|pytorch\.org|localhost)$|^localhost$"
)
"""Hosts that everybody knows: where images, weights and packages come from."""
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*(?![\w:])")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_SSH_KEY = re.compile(r"\b(?:ssh-(?:rsa|ed25519|dss)|ecdsa-\S+|sk-\S+@openssh\.com) [\w+/=]{20,}")
_TOKENS = re.compile(
    r"\b(?:hf_|sk[-_]|rk_live_|gh[pousr]_|github_pat_|gl(?:pat|rt)-|xox[abeprs]-|A[KS]IA|AIza"
    r"|nvapi-|npm_|pypi-|dckr_(?:pat|oat)_|tskey-|gsk_|r8_|xai-|pplx-|dop_v1_|SG\.|ya29\.)[\w.-]{8,}"
    r"|hf_[A-Za-z0-9]{20,}|AGE-SECRET-KEY-\w+"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?"
)
"""Keys by the beginnings their issuers gave them; `eyJ` begins a JSON web token."""
_NAMES_OF_KEYS = (
    r"[\w-]*(?:api ?key|[_-]key|(?:private|preshared|secret|access) ?key|token|secret|passwo?r?d"
    r"|passphrase|passwd|credentials?)"
)
_NAMED = re.compile(
    rf"(?i)((?:\b{_NAMES_OF_KEYS}[\"']?\s*[=:]\s*|--{_NAMES_OF_KEYS}\s+))"
    r"((?!\(hidden\))(?:bearer\s+)?(?:\"[^\"]*\"|'[^']*'|[^\s\"',;)]+))"
)
_LONG = re.compile(
    r"(?<![\w+/=@:-])(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])(?=[\w+/]*\d)"
    r"(?:[A-Za-z0-9+]{36,}|[A-Za-z0-9+/]{42,}=)={0,2}(?![\w/])"
)
"""A key without a name: long, and of letters that no word and no digest has together."""
_COOKIE = re.compile(r"(?i)\b((?:set-)?cookie:\s*)[^\n]+")
_NETRC = re.compile(r"\b(login\s+)\S+(\s+password\s+)\S+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}")
_SERIAL = re.compile(
    r"(?i)(serial(?:[ _-]?(?:number|no))?\.?[\"']?\s*[=:#]?\s*[\"']?)"
    r"(?=[\w-]*\d)([A-Z0-9][\w-]{3,})"
    r"|(/dev/disk/by-(?:id|uuid|path|partuuid|label|partlabel)/)([^\s,;]+)"
    r"|(\b(?:eui\.|wwn-0x|naa\.))([0-9A-Fa-f]{8,})"
)
_NVIDIA_SERIAL = re.compile(r"(?<![\w.])\d{13}(?![\w.])")
"""Board serials of NVIDIA cards have 13 digits (`nvidia-smi -q`, Serial Number)."""
_PATH = re.compile(r"(?<![\w/.~-])(?:~|/[\w.@+-])[\w.@+~/-]*|/(?:home|Users|root)/[\w.@+~/-]+")
_SYSTEM = re.compile(r"/(?:boot|dev|etc|lib|lib64|proc|run|sbin|bin|sys|usr|var|v1|health)(?:/|\b)")
"""Folders that are the same on every host, and the paths of the servers' HTTP interface."""


@dataclass
class Redactor:
    """Replaces what names a person, a place or a machine; `also` are further literal values."""

    also: tuple[str, ...] = ()
    names: dict[tuple[str, str], str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        """The text with every such value replaced."""
        text = _PEM.sub("[key]", text)
        text = _SSH_KEY.sub("[key]", text)
        text = _LOGIN.sub("[key]@", text)
        text = _COOKIE.sub(r"\1[key]", text)
        text = _NETRC.sub(r"\1[account]\2[key]", text)
        text = _NAMED.sub(r"\1[key]", text)
        text = _BEARER.sub(r"\1\2[key]", text)
        text = _TOKENS.sub("[key]", text)
        text = _LONG.sub("[key]", text)
        text = self._each(_MAIL, "account", text)
        for literal in sorted(filter(None, self.also), key=len, reverse=True):
            named = self._named("name", literal)
            text = re.sub(rf"(?<![\w.]){re.escape(literal)}(?![\w])", named, text)
        text = self._each(_UUID, "uuid", text)
        text = _SERIAL.sub(self._serial, text)
        text = _URL_HOST.sub(self._host, text)
        text = _REGISTRY.sub(self._host, text)
        text = self._each(_LOCAL_HOST, "host", text)
        text = self._each(_MAC, "mac", text)
        text = self._each(_IPV4, "address", text, keep=_is_public_knowledge)
        text = self._each(_IPV6, "address", text, keep=_is_public_knowledge)
        text = self._each(_NVIDIA_SERIAL, "serial", text)
        return self._each(_PATH, "path", text, keep=_is_system_path)

    def verdict(self, verdict: Verdict) -> Verdict:
        """The same for every text of a row; its id stays."""
        return replace(
            verdict,
            title=self(verdict.title),
            expected=self(verdict.expected),
            found=self(verdict.found),
            reason=self(verdict.reason),
            next_action=self(verdict.next_action),
            method=self(verdict.method),
        )

    def _each(
        self,
        pattern: re.Pattern[str],
        kind: str,
        text: str,
        keep: Callable[[str], bool] = lambda _: False,
    ) -> str:
        return pattern.sub(lambda m: m[0] if keep(m[0]) else self._named(kind, m[0]), text)

    def _serial(self, match: re.Match[str]) -> str:
        place = match.lastindex or 2
        return match[place - 1] + self._named("serial", match[place])

    def _host(self, match: re.Match[str]) -> str:
        if _PUBLIC.search(match[1]):
            return match[0]
        return match[0].replace(match[1], self._named("host", match[1]))

    def _named(self, kind: str, value: str) -> str:
        count = sum(1 for known, _ in self.names if known == kind)
        return self.names.setdefault((kind, value), f"[{kind} {count + 1}]")


def redactor(also: Iterable[str | None] = ()) -> Redactor:
    """A redactor that also knows these values (the rig's address, its user)."""
    kept = {"", "root", "localhost", "rig"}
    return Redactor(tuple(value for value in also if value and value not in kept))


def _is_public_knowledge(text: str) -> bool:
    """No address at all (a version, a PCI address), or one that every machine has."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return True
    return address.is_loopback or address.is_unspecified


def _is_system_path(text: str) -> bool:
    return bool(_SYSTEM.match(text))
