#!/usr/bin/env python3
"""Chat templates beside Jinja 2, set up as transformers sets it up: the same text for every conversation.

    python3 -m venv ~/peers
    ~/peers/bin/pip install jinja2
    swift build -c release
    ~/peers/bin/python Benchmarks/peers/chat_templates.py --tool .build/release/attention [--templates FOLDER]

The pieces below use each part of the language alone. `--templates` adds the `.jinja` files of a folder, such as templates
of published models. A template that one side refuses must be refused by the other.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Templates of one line or a few, each for a rule of the language.
PIECES = r"""
{{ messages[0].content }}|{{ messages[0]['role'] }}|{{ messages[-1].content[1:-1] }}|{{ messages[0].content[::-1] }}
{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.last }} {{ m.role }};{% endfor %}
{% for m in messages if m.role != 'user' %}{{ m.role }} {{ loop.revindex0 }}{% else %}none{% endfor %}
{%- for m in messages -%}   {{ m.role }}   {%- endfor -%}   end
{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ m.role[0] %}{% endfor %}{{ ns.n }}{{ ns.s }}
{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}
{% macro f(a, b='B', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=2) }}{{ f('x', 'y', 'z') | upper }}
{{ tools | tojson }}{{ dict(b=1, a=2) }}{{ strftime_now is defined }}
{{ tools | tojson(indent=2) }}
{{ [1, 2.5, -0.0, 1e20, 1e-7, true, none, 'é"\\\n', {'a': [], 'b': {}}] | tojson(indent=4) }}
{{ [1, 2.5, 1e16, 1e-5, 123456789.123, true, none, 'é"\'', "it's", {'a': [1]}] }}
{{ messages | map(attribute='role') | join(', ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='content') | first | default('nobody') }}
{{ [3, 1, 2] | sort }} {{ ['b', 'A', 'c'] | sort(reverse=true) }} {{ [1, 2, 2, 3, 1] | unique | list }} {{ [1, 2, 3] | sum }} {{ [4, 9] | max }}
{{ '  a b  ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ ' a '.strip() }}|{{ 'xay'.lstrip('x') }}|{{ 'xay'.rstrip('y') }}|{{ 'aXbXc'.split('X') }}
{{ 'a  b c'.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a\nb\r\nc'.splitlines() }}{{ 'abcabc'.replace('b', 'X', 1) }}{{ 'abc'.find('c') }}
{{ 'hello world'.title() }}{{ "they're bill's" | title }}{{ 'hELLO' | capitalize }}{{ 'a'.upper() }}{{ 'straße'.upper() }}{{ 'ABC'.lower() }}
{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'b' in 'abc' }}{{ 'x' not in 'abc' }}{{ 1 in [1, 2] }}{{ 'a' in {'a': 1} }}
{{ undefined_thing is defined }}{{ undefined_thing }}{{ undefined_thing | default('d') }}{{ none | default('d') }}{{ '' | default('d', true) }}
{{ 1 is number }}{{ 'a' is string }}{{ {} is mapping }}{{ [] is iterable }}{{ 'a' is iterable }}{{ none is none }}{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}
{{ true is true }}{{ 1 is true }}{{ false is false }}{{ true is boolean }}{{ 1 is integer }}{{ 1.0 is float }}{{ 'a' is not none }}{{ 1 is eq 1 }}{{ [] is sequence }}
{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 2 ** 10 }}{{ 1 + 2 * 3 - 4 }}{{ 'a' ~ 1 ~ none }}{{ 'ab' * 3 }}{{ [1] + [2] }}{{ 1.5 * 2 }}
{{ 'yes' if messages else 'no' }}{{ 'yes' if false }}{{ 1 if 0 else 2 if 0 else 3 }}{{ not true or true and false }}{{ 1 < 2 < 3 }}{{ 1 == 1.0 == true }}
{{ '%s is %d' % ('a', 3) }}{{ '%s' % 'b' }}
{%- if messages | length > 1 and messages[0].role == 'system' %}
    {{- 'system: ' + messages[0].content }}
{%- elif messages %}
    {{- 'first' }}
{%- else %}
    {{- 'none' }}
{%- endif %}
  {% if true %}
    indented
  {% endif %}
after
{%+ if true %} kept {%+ endif +%}
next
{# a comment #}
text {#- stripped -#} text
a {{- ' b ' -}} c
{% raw %}{{ not evaluated }} {% for %}{% endraw %}
{% set block %}  text {{ 1 + 1 }}{% endset %}[{{ block }}]
{% for k, v in tools[0].function.items() %}{{ k }}={{ v }};{% endfor %}{% for k in tools[0] %}{{ k }}{% endfor %}{{ tools[0].keys() | list }}
{% for k, v in tools[0] | dictsort %}{{ k }}{% endfor %}{{ tools[0] | items | list | length }}{{ tools[0].get('x', 'default') }}{{ tools[0].get('nope') }}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(2, 10, 3) %}{{ i }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}{{ range(3) | list }}{{ range(5, 0, -2) | list }}
{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %}{% set a, b = 1, 2 %}{{ a }}{{ b }}
{{ '3' | int + 1 }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ '2.5' | float }}{{ 3.7 | int }}{{ 2.567 | round(2) }}{{ 2.5 | round }}{{ -3 | abs }}{{ 3 | string + '4' }}
{{ 'a\nb\n\nc' | indent(2) }}{{ 'a\nb' | indent(2, true) }}{{ 'abc' | reverse }}{{ [1, 2] | reverse | list }}{{ 'abc' | length }}{{ '漢字👍' | length }}{{ 'abc' | list }}
{{ ['a', 'b'] | map('upper') | list }}{{ [0, 1, '', 'x'] | select | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('gt', 1) | list }}
{{ "a" "b" }}{{ 'tab\tnew\nline\\ \x41 \u00e9' }}{{ {'a': 1, 'b': [1, 2]}.b[1] }}{{ (1, 2)[0] }}{{ [1, 2, 3][-1] }}{{ [1, 2, 3][1:] }}{{ 'abc'[0] }}
{{ messages[0].missing }}{{ messages[0].missing is undefined }}{{ messages[0].get('missing') is none }}{{ [][0] }}
{{ messages[0].missing.deeper }}
{{ raise_exception('roles must alternate') }}
{{ 1 / 0 }}
{{ 'a' + 1 }}
{{ messages.append(1) }}
{% generation %}answer{% endgeneration %}{% macro g(a, b=2) %}<{{ a }}{{ caller() }}{{ b }}>{% endmacro %}{% set z = 3 %}{% call g(1) %}in {{ z }}{% endcall %}{% macro h(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ h(*[1, 2]) }}{{ ([h])[0](3, 4) }}
{{ bos_token }}{{ eos_token is defined }}{{ add_generation_prompt }}
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ add_generation_prompt }}
{{ messages[0].content | escape }}{{ 'a' | safe }}{{ messages[0]['content'] | e }}
{{ 'user' == messages[0].role }}{{ messages[0] == messages[0] }}{{ 'b' > 'a' }}{{ [1, 2] < [1, 3] }}{{ (1 if true else 2) * 3 }}{{ -2 ** 2 }}{{ 2 - -1 }}
{% macro outer(x) %}{% if x > 0 %}{{ x }}{{ outer(x - 1) }}{% endif %}{% endmacro %}{{ outer(3) }}
{% set x = [1] %}{% if true %}{% set x = [2] %}{% endif %}{{ x }}{% for i in x %}{% set y = i %}{% endfor %}{{ y is defined }}
{{ messages[0].content is string and messages[0].content | length > 0 and not messages[0].content.startswith('x') }}
{{ 'a-b_c'.replace('-', '').replace('_', '') }}{{ 'abc'.removeprefix('a') }}{{ 'x'.join(['a', 'b']) }}{{ 'a b'.count('a') }}{{ '12'.isdigit() }}{{ 'Ab'.isalpha() }}
{{ [[1, 'a'], [2, 'b']] | map('first') | list }}{{ [{'n': {'x': 1}}] | map(attribute='n.x') | list }}{{ [{'a': 1}, {}] | map(attribute='a', default=0) | list }}
""".strip("\n")

CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "Hello <there> & \"you\""}], "add_generation_prompt": True},
    {"messages": [{"role": "system", "content": "  Be brief. "}, {"role": "user", "content": "漢字 é 👍?"},
                  {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes\n"}, {"role": "user", "content": "Why\n"}],
     "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "Weather?"},
                  {"role": "assistant", "content": "", "tool_calls": [
                      {"id": "abcdefghi", "type": "function",
                       "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 3, "real": 1.5}}}]},
                  {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": "{\"sun\": true}"},
                  {"role": "assistant", "content": "Sunny."}]},
    {"messages": [{"role": "assistant", "content": "I begin."}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"}]}], "add_generation_prompt": True},
]
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather's state, \"now\" <b>", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "Où?"},
                                         "days": {"type": "integer", "enum": [1, 2, 3]}}, "required": ["city"]}}}]


class Generation(jinja2.ext.Extension):
    """The block that marks what the model says, whose content is written as it is."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return body


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, "jinja2.ext.loopcontrols"])

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    env.globals["raise_exception"] = raise_exception
    env.filters["tojson"] = lambda value, ensure_ascii=False, indent=None: json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent)
    return env


def expected(env, template, conversation):
    """The text, or None where it is refused."""
    variables = {"tools": None, "documents": None, "add_generation_prompt": False, **conversation}
    try:
        return env.from_string(template).render(**variables)
    except (jinja2.TemplateError, TypeError, ValueError, ZeroDivisionError, AttributeError, KeyError) as error:
        return None


def rendered(tool, path, conversation):
    """The text, or None and the reason where it is refused."""
    line = json.dumps(conversation, ensure_ascii=False).encode() + b"\n"
    result = subprocess.run([tool, "tokenizer", "chat", path, "-"], input=line, capture_output=True)
    if result.returncode:
        return None, result.stderr.decode()
    return json.loads(result.stdout.decode()), ""


def pieces():
    """Templates of one line, and those that begin with a block that ends lines later, together."""
    lines = PIECES.split("\n")
    whole = next(i for i, line in enumerate(lines) if line.startswith("{%- if messages | length"))
    end = next(i for i, line in enumerate(lines) if line.startswith("{% raw %}"))
    yield from lines[:whole]
    yield "\n".join(lines[whole:end]) + "\n"
    yield "\r\n".join(lines[whole:end])
    yield from lines[end:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--templates", help="a folder of .jinja files")
    options = parser.parse_args()
    templates = [(f"piece {i}", piece) for i, piece in enumerate(pieces())]
    if options.templates:
        for path in sorted(glob.glob(os.path.join(options.templates, "**", "*.jinja"), recursive=True)):
            with open(path, encoding="utf-8", newline="") as file:
                templates.append((os.path.basename(path), file.read()))
    env = environment()
    compared = refused = differ = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "template.jinja")
        for name, template in templates:
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(template)
            for conversation in CONVERSATIONS:
                for tools in ({}, {"tools": TOOLS}):
                    conversation = {**conversation, **tools, "bos_token": "<s>", "eos_token": "</s>"}
                    want = expected(env, template, conversation)
                    got, reason = rendered(options.tool, path, conversation)
                    compared += 1
                    refused += want is None
                    if want != got:
                        differ += 1
                        print(f"{name}: {template[:200] if name.startswith('piece') else ''}\n  jinja2 {want!r}\n"
                              f"  ours   {got!r} {reason}")
                        break
    print(f"{compared} texts of {len(templates)} templates compared, {refused} refused, {differ} differ")
    if differ:
        sys.exit(1)


if __name__ == "__main__":
    main()
