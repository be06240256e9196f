import TestSupport
import Testing

@testable import AttentionTokenizers

@Suite struct ChatTemplateTests {
  private static let messages: [ChatValue] = [
    .message(role: "system", content: " Be brief. "), .message(role: "user", content: "漢字 é?"),
  ]

  private func render(_ template: String) throws -> String {
    try ChatTemplate(template, variables: ["bos_token": .string("<s>")]).render(
      messages: Self.messages, addsGenerationPrompt: true)
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let template: String
    let expected: String

    init(_ template: String, _ expected: String) {
      self.template = template
      self.expected = expected
    }

    var testDescription: String { template }
  }

  /// What Jinja 2 gives, with the settings of chat templates.
  @Test(arguments: [
    Case("plain", "plain"), Case("a\n", "a"), Case("a\r\nb", "a\nb"),
    Case("{{ bos_token }}{{ messages[0].role }}{{ messages[-1]['content'] }}", "<s>system漢字 é?"),
    Case("{% for m in messages %}{{ loop.index }}{{ m.role }}{% endfor %}", "1system2user"),
    Case("{% for m in [] %}x{% else %}none{% endfor %}", "none"),
    Case("{% for i in range(5) if i is odd %}{{ i }}{{ loop.last }}{% endfor %}", "1False3True"),
    Case(
      "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
      "013"),
    Case("  {% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
    Case("a {{- 'b' -}} c", "abc"), Case("a\n{#- x -#}\nb", "ab"),
    Case("{%+ if true %}a{% endif +%}\nb", "a\nb"),
    Case("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    Case(
      "{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}",
      "1,2,3,1"),
    Case(
      "{% set n = namespace(v=0) %}{% for i in range(3) %}{% set n.v = n.v + i %}{% endfor %}{{ n.v }}",
      "3"),
    Case("{% set t %}a{{ 1 + 1 }}{% endset %}[{{ t }}]", "[a2]"),
    Case("{% macro f(a, b='B') %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(b=2, a=3) }}", "1B32"),
    Case("{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{% endcall %}", "<x>"),
    Case("{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}", "12"),
    Case(
      "{{ [1, 2.0, 1e16, 1e-5, true, none, 'a\\'b', {'k': [1]}] }}",
      "[1, 2.0, 1e+16, 1e-05, True, None, \"a'b\", {'k': [1]}]"),
    Case("{{ {'b': 1, 'a': ['é', none, 1.5]} | tojson }}", "{\"b\": 1, \"a\": [\"é\", null, 1.5]}"),
    Case("{{ {'a': [1, {}]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"),
    Case(
      "{{ 7 // 2 }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 2 ** 3 }}{{ 'a' ~ 1 }}{{ 'ab' * 2 }}",
      "3-423.58a1abab"),
    Case(
      "{{ 1 < 2 < 3 }}{{ 1 == 1.0 }}{{ 'a' in 'ba' }}{{ 3 not in [1] }}{{ not 1 or 2 and 3 }}",
      "TrueTrueTrueTrue3"),
    Case("{{ 'x' if false }}{{ 1 if 0 else 2 if 0 else 3 }}", "3"),
    Case(
      "{{ missing }}{{ missing is defined }}{{ missing | default('d') }}{{ none | default('e', true) }}",
      "Falsede"),
    Case(
      "{{ 'abcdef'[1:-1:2] }}{{ 'abc'[::-1] }}{{ [1, 2, 3][1:] }}{{ 'abc'[9:] }}", "bdcba[2, 3]"),
    Case(
      "{{ ' a '.strip() }}{{ 'aXb'.split('X') }}{{ 'ab'.startswith(('x', 'a')) }}{{ 'a'.upper() }}",
      "a['a', 'b']TrueA"),
    Case(
      "{{ messages | map(attribute='role') | join(',') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
      "system,user1"),
    Case(
      "{{ [3, 1, 2] | sort }}{{ [1, 1, 2] | unique | list }}{{ [1, 2] | sum }}{{ ['b', 'A'] | sort | first }}",
      "[1, 2, 3][1, 2]3A"),
    Case(
      "{{ 'a\nb' | indent(2) }}{{ \"they're\" | title }}{{ '漢字' | length }}{{ '3' | int + 1 }}",
      "a\n  bThey're24"),
    Case("{% generation %}x{% endgeneration %}{{ strftime_now is defined }}", "xFalse"),
    Case("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "a1b2"),
    Case(
      "{{ {'items': 5}['items'] }}{{ {'a': 1}.get('b', 2) }}{{ messages[0].nope is undefined }}",
      "52True"),
    Case("{{ 'e\u{301}' == 'é' }}{{ {'é': 1}.get('e\u{301}') }}", "FalseNone"),
  ])
  func textIsThatOfJinja(_ test: Case) throws {
    #expect(try render(test.template) == test.expected)
  }

  @Test(arguments: [
    "{{", "{% if %}", "{% if x %}", "{% endif %}", "{% for x %}{% endfor %}", "{{ a b }}",
    "{{ 'a }}", "{# x",
    "{% nope %}", "{{ x | nope }}", "{{ x is nope }}", "{% include 'x' %}",
    "{% for i in x recursive %}{% endfor %}",
    "{{ 1 + }}", "{{ (1 }}", "{{ {1} }}", "{{ $ }}", "{% raw %}x", "{% set %}",
    "{% macro f( %}{% endmacro %}",
    "{{ '\\u12' }}", "{{ x[] }}", "{{ x[1:2:3:4] }}", "{% call 1 %}{% endcall %}",
  ])
  func whatIsNoTemplateIsAnError(_ template: String) {
    #expect {
      try ChatTemplate(template)
    } throws: { error in
      guard case ChatTemplateError.syntax = error else { return false }
      return isPresentable(error)
    }
  }

  @Test(arguments: [
    "{{ missing.deeper }}", "{{ 'a' + 1 }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}",
    "{{ messages.append(1) }}", "{{ 1 < 'a' }}",
    "{{ 9223372036854775807 + 1 }}", "{{ 10 ** 100 }}", "{{ missing() }}",
    "{% for a, b in [[1]] %}{% endfor %}",
    "{% set messages.x = 1 %}", "{{ strftime_now('%Y') }}", "{{ [] | map('nope') | list }}",
    "{{ x | tojson }}",
    "{{ range(1, 2, 0) }}", "{{ [1, 'a'] | sort }}", "{{ 'a'.split('') }}", "{{ '%q' % 1 }}",
    "{{ 'abc'[::0] }}",
    "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
  ])
  func whatCannotBeDoneIsAnError(_ template: String) {
    #expect {
      try render(template)
    } throws: { error in
      guard case ChatTemplateError.evaluation = error else { return false }
      return isPresentable(error)
    }
  }

  @Test func templatesMayRefuse() {
    #expect(throws: ChatTemplateError.refused("no system role")) {
      try render("{{ raise_exception('no system role') }}")
    }
  }

  @Test(arguments: [
    "{% for a in range(99999999999) %}x{% endfor %}",
    "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 99999999999 }}", "{{ [1] * 99999999999 }}",
    "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
    "{% set n = namespace(s='aa') %}{% for i in range(60) %}{% set n.s = n.s.replace('a', n.s) %}{% endfor %}",
    "{% set s = 'a' * 1000000 %}{% set l = [s] * 100000 %}{{ l }}",
    "{% set s = 'a' * 1000000 %}{% set l = [s] * 100000 %}{{ l | tojson }}",
    "{% set s = 'a' * 1000000 %}{% set l = [s] * 100000 %}{{ l | join }}",
    "{% set n = namespace(s='\\n') %}{% for i in range(60) %}{% set n.s = n.s | indent(1000, true, true) ~ n.s %}{% endfor %}",
  ])
  func endlessTemplatesAreErrors(_ template: String) {
    #expect {
      try ChatTemplate(template).render(messages: [], stepLimit: 500_000)
    } throws: { error in
      guard case ChatTemplateError.tooLong = error else { return false }
      return true
    }
  }

  @Test func deepTemplatesAreErrors() {
    let count = 20_000
    for (open, close) in [
      ("(", ")"), ("[", "]"), ("not ", ""), ("-", ""), ("", " + 1"), ("", ".a"), ("", "[0]"),
      ("", " | trim"),
      ("", " or 1"), ("", "()"), ("1 if 1 else ", ""),
    ] {
      let template =
        "{{ " + String(repeating: open, count: count) + "1" + String(repeating: close, count: count)
        + " }}"
      #expect(throws: ChatTemplateError.self) { try ChatTemplate(template) }
    }
    let blocks =
      String(repeating: "{% if 1 %}", count: count) + String(repeating: "{% endif %}", count: count)
    #expect(throws: ChatTemplateError.self) { try ChatTemplate(blocks) }
  }

  @Test func mutatedTemplatesGiveTextOrAnError() {
    let seeds = [
      "{%- for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}{% if not loop.last %}\n{% endif %}{% endfor %}",
      "{% set ns = namespace(x=[1, 2][0:1]) %}{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{{ f(1) if ns.x is defined else {'a': 1} | tojson }}",
    ]
    var mutations = Mutations(
      of: seeds.map { Array($0.utf8) },
      words: ["{{", "}}", "{%", "%}", "-%}", "loop", "is", "if", "else", "|", "(", "["])
    for _ in Mutations.rounds(1500) {
      do {
        let template = try ChatTemplate(String(decoding: mutations.next(), as: UTF8.self))
        _ = try template.render(messages: Self.messages, stepLimit: 100_000)
      } catch {
        #expect(isPresentable(error), "\(error)")
      }
    }
  }

  @Test func theTemplateOfAFolderIsFound() throws {
    let folder = TemporaryFolder()
    #expect(throws: ChatTemplateError.self) { try ChatTemplate(folder: folder.path) }
    let configuration = """
      {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false},
       "chat_template": [{"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"},
                         {"name": "tool_use", "template": "tools"}]}
      """
    _ = try folder.write("tokenizer_config.json", Array(configuration.utf8))
    let message = [ChatValue.message(role: "user", content: "a")]
    #expect(try ChatTemplate(folder: folder.path).render(messages: message) == "<s>a</s>")
    #expect(
      try ChatTemplate(folder: folder.path, name: "tool_use").render(messages: message) == "tools")
    _ = try folder.write("chat_template.jinja", Array("file{{ eos_token }}".utf8))
    #expect(try ChatTemplate(path: folder.path).render(messages: message) == "file</s>")
    let path = folder.path("chat_template.jinja")
    #expect(try ChatTemplate(path: path).render(messages: message) == "file")
    #expect(throws: ChatTemplateError.self) { try ChatTemplate(path: "/nowhere") }
  }

  @Test func aClockMayBeGiven() throws {
    var template = try ChatTemplate("{{ strftime_now('%Y') }}")
    template.formattedTime = { "time \($0)" }
    #expect(try template.render(messages: []) == "time %Y")
  }
}
