import AttentionLanguageModels
import FoundationEssentials

/// The page of ``Inspect``: one file, with its data in it.
struct InspectionPage {
  let title: String
  /// The text of each token.
  let tokens: [String]
  let view: AttentionView

  private struct Contents: Encodable {
    let title: String
    let tokens: [String]
    let calls: [Call]

    struct Call: Encodable {
      let kind: String
      let heads: [Head]
    }
    struct Head: Encodable {
      /// Sizes of the map's entries, 255 for the largest, in base64.
      let map: String
      let largest: Float
      let entropy: Double
      let remembered: [Float]
      /// In tokens; nil if nothing decays or nothing is forgotten.
      let memory: Double?
    }
  }

  var html: String {
    get throws {
      let contents = Contents(
        title: title, tokens: tokens,
        calls: view.calls.map { call in
          Contents.Call(kind: call.kind.rawValue, heads: call.heads.map(Self.head))
        })
      // No text of the data may end the script that holds it.
      let data = try JSON.line(contents).replacing("<", with: "\\u003c")
      return Self.beginning + data + Self.end
    }
  }

  private static func head(_ head: AttentionView.Head) -> Contents.Head {
    let largest = head.map.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
    let bytes = head.map.map { number -> UInt8 in
      guard largest > 0, number.isFinite else { return 0 }
      return UInt8((255 * abs(number) / largest).rounded())
    }
    return Contents.Head(
      map: Data(bytes).base64EncodedString(), largest: largest, entropy: head.entropy,
      remembered: head.remembered.map { $0.isFinite ? $0 : 0 },
      memory: head.memoryLength.flatMap { $0.isFinite ? $0 : nil })
  }

  private static let beginning = #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
    <title>attention inspect</title>
    <link rel="icon" href="data:,">
    <style>
    :root { color-scheme: light dark; --ink: #1c2024; --dim: #60656c; --line: #d9d9e0; --paper: #fcfcfd; --card: #fff;
      --blue: 11 104 203; }
    @media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --dim: #a7abb2; --line: #3a3d42; --paper: #111214;
      --card: #191b1e; --blue: 112 184 255; } }
    * { box-sizing: border-box; }
    body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
    header { padding: 14px 20px; border-bottom: 1px solid var(--line); }
    h1 { font-size: 17px; margin: 0; } h2 { font-size: 14px; margin: 0 0 8px; color: var(--dim); }
    main { display: grid; gap: 16px; padding: 16px 20px; }
    section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
    .heads { display: flex; flex-wrap: wrap; gap: 18px; } .head { width: 270px; }
    canvas { width: 270px; height: 270px; display: block; image-rendering: pixelated; border: 1px solid var(--line); }
    small { color: var(--dim); display: block; min-height: 1.5em; }
    .text { font-family: ui-monospace, monospace; font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0; }
    </style>
    </head>
    <body>
    <header><h1 id="title"></h1><small>A row is a token that reads, a column one that is read; the darker, the more. Below:
      what is left of each token after the last. Move over a map for the tokens.</small></header>
    <main id="main"></main>
    <script>
    'use strict';
    const data =
    """#

  private static let end = #"""
    ;
    const blue = getComputedStyle(document.documentElement).getPropertyValue('--blue');
    const make = (name, text) => { const e = document.createElement(name); if (text !== undefined) e.textContent = text; return e; };
    const shown = token => token.replaceAll('\n', '⏎').replaceAll('\t', '⇥');
    const [red, green, blueish] = blue.trim().split(' ').map(Number);
    document.getElementById('title').textContent = data.title + ' · ' + data.tokens.length + ' tokens';
    document.title = data.title + ' · attention inspect';
    const length = data.tokens.length;
    data.calls.forEach((call, index) => {
      const section = make('section'), heads = make('div');
      heads.className = 'heads';
      section.append(make('h2', 'Attention ' + (index + 1) + ' of ' + data.calls.length + ', ' + call.kind));
      call.heads.forEach((head, number) => {
        const box = make('div'), canvas = make('canvas'), note = make('small'), text = make('div');
        box.className = 'head'; text.className = 'text';
        canvas.width = canvas.height = length;
        canvas.setAttribute('role', 'img'); canvas.setAttribute('aria-label', 'Map of head ' + (number + 1));
        const bytes = Uint8Array.from(atob(head.map), c => c.charCodeAt(0));
        const paint = canvas.getContext('2d'), image = paint.createImageData(length, length);
        bytes.forEach((byte, i) => {
          // The square root shows small entries too.
          image.data.set([red, green, blueish, 255 * Math.sqrt(byte / 255)], 4 * i);
        });
        paint.putImageData(image, 0, 0);
        let facts = 'head ' + (number + 1) + ': entropy ' + head.entropy.toFixed(2) + ' (' + Math.exp(head.entropy).toFixed(1) + ' tokens)';
        if (call.kind === 'linear') facts += ', memory ' + (head.memory === undefined ? 'without decay' : head.memory.toFixed(1) + ' tokens');
        note.textContent = facts;
        canvas.onmousemove = event => {
          const place = size => Math.min(length - 1, Math.max(0, Math.floor(size * length / canvas.clientWidth)));
          const [row, column] = [place(event.offsetY), place(event.offsetX)];
          note.textContent = '“' + shown(data.tokens[row]) + '” (' + row + ') reads “' + shown(data.tokens[column]) + '” (' + column + '): '
            + (bytes[row * length + column] / 255 * head.largest).toPrecision(2);
        };
        canvas.onmouseleave = () => { note.textContent = facts; };
        const most = Math.max(...head.remembered, 1e-30);
        data.tokens.forEach((token, i) => {
          const span = make('span', shown(token));
          span.style.background = 'rgb(' + blue + ' / ' + (0.75 * head.remembered[i] / most).toFixed(3) + ')';
          span.title = head.remembered[i].toPrecision(3);
          text.append(span);
        });
        box.append(canvas, note, text);
        heads.append(box);
      });
      section.append(heads);
      document.getElementById('main').append(section);
    });
    </script>
    </body>
    </html>

    """#
}
