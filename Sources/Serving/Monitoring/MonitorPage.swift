/// The page at `/`: live numbers and a chat, in one file that asks no other host for anything.
enum MonitorPage {
  /// Only what stands in the page itself may run, and it may only talk to this server.
  static let policy = [
    "default-src 'none'", "style-src 'unsafe-inline'", "script-src 'unsafe-inline'",
    "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'",
    "frame-ancestors 'none'",
  ].joined(separator: "; ")

  /// How the pages of a server and of a training run look.
  static let style = #"""
    :root { color-scheme: light dark; --ink: #1c2024; --dim: #60656c; --line: #d9d9e0;
      --paper: #fcfcfd; --card: #fff; --blue: #0b68cb; --red: #c62a2f; }
    @media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --dim: #a7abb2; --line: #3a3d42;
      --paper: #111214; --card: #191b1e; --blue: #70b8ff; --red: #ff9592; } }
    * { box-sizing: border-box; }
    body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
    header { display: flex; gap: 12px; align-items: baseline; padding: 14px 20px;
      border-bottom: 1px solid var(--line); }
    h1 { font-size: 17px; margin: 0; } h2 { font-size: 14px; margin: 0 0 8px; color: var(--dim); }
    #state { color: var(--dim); } #state.bad { color: var(--red); }
    #key { margin-left: auto; width: 150px; }
    main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 16px; padding: 16px 20px; }
    @media (max-width: 800px) { main { grid-template-columns: minmax(0, 1fr); } }
    section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
    .numbers { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; }
    .number b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
    .number span, label, small { color: var(--dim); font-size: 12px; }
    svg { width: 100%; height: 72px; display: block; margin-top: 6px; }
    polyline { fill: none; stroke: var(--blue); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
    #log { height: 340px; overflow-y: auto; border: 1px solid var(--line); border-radius: 6px; padding: 10px; }
    .message { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 10px; }
    .message b { display: block; font-size: 12px; color: var(--dim); }
    .error { color: var(--red); }
    textarea, input { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
      border-radius: 6px; padding: 6px 8px; }
    textarea { width: 100%; resize: vertical; margin-top: 10px; }
    .row { display: flex; gap: 10px; align-items: center; margin-top: 8px; flex-wrap: wrap; }
    .row input { width: 80px; }
    button { font: inherit; padding: 6px 14px; border-radius: 6px; border: 1px solid var(--line);
      background: var(--card); color: inherit; cursor: pointer; }
    button.main { background: var(--blue); border-color: var(--blue); color: var(--paper); margin-left: auto; }
    button:disabled { opacity: .5; cursor: default; }

    """#

  /// The beginning of a page, up to the rules of its own style.
  static func head(title: String) -> String {
    #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\#(title)</title>
    <link rel="icon" href="data:,">
    <style>
    """# + style
  }

  static let html =
    head(title: "attention serve") + #"""
      </style>
      </head>
      <body>
      <header><h1 id="model">attention serve</h1><span id="state">connecting</span>
        <input id="key" type="password" placeholder="API key" aria-label="API key" autocomplete="off"></header>
      <main>
      <section><h2>Chat</h2>
        <div id="log" aria-live="polite"></div>
        <textarea id="text" rows="3" placeholder="Message" aria-label="Message"></textarea>
        <div class="row"><label>temperature <input id="temperature" type="number" min="0" max="2" step="0.1" value="0.8"></label>
          <label>tokens <input id="tokens" type="number" min="1" value="256"></label>
          <button id="clear">Clear</button><button id="stop" disabled>Stop</button><button id="send" class="main">Send</button></div>
        <div class="row"><small id="note"></small></div>
      </section>
      <section><h2>Now</h2>
        <div class="numbers" id="numbers"></div>
        <h2 style="margin-top:16px">Tokens a second, last two minutes</h2>
        <svg viewBox="0 0 120 40" preserveAspectRatio="none" role="img" aria-label="Tokens a second"><polyline id="curve"/></svg>
        <small id="scale"></small>
      </section>
      </main>
      <script>
      'use strict';
      const $ = id => document.getElementById(id);
      const headers = () => $('key').value ? { Authorization: 'Bearer ' + $('key').value } : {};
      const messages = [];
      let model = null, last = null, running = null;
      const rates = [];

      // Numbers by name, without labels; of histograms the sum and the count.
      function parse(text) {
        const values = {};
        for (const line of text.split('\n')) {
          const match = /^attention_(\w+)(?:\{[^}]*\})? (\S+)$/.exec(line);
          if (match) values[match[1]] = (values[match[1]] || 0) + Number(match[2]);
        }
        return values;
      }
      const bytes = n => n < 1e6 ? (n / 1e3).toFixed(0) + ' kB' : n < 1e9 ? (n / 1e6).toFixed(1) + ' MB' : (n / 1e9).toFixed(2) + ' GB';
      const time = s => !isFinite(s) ? '–' : s < 1 ? (s * 1000).toFixed(1) + ' ms' : s.toFixed(2) + ' s';
      function mean(now, before, name) {
        const count = now[name + '_count'] - (before ? before[name + '_count'] : 0);
        return (now[name + '_sum'] - (before ? before[name + '_sum'] : 0)) / count;
      }
      function show(now, seconds) {
        const rate = last && seconds > 0 ? Math.max(0, now.generated_tokens_total - last.generated_tokens_total) / seconds : 0;
        rates.push(rate);
        if (rates.length > 120) rates.shift();
        const numbers = [
          [rate.toFixed(0), 'tokens a second'],
          [now.sequences_running + ' / ' + now.sequences_limit, 'sequences running'],
          [now.sequences_waiting, 'sequences waiting'],
          [time(mean(now, null, 'first_token_seconds')), 'to the first token, mean'],
          [time(mean(now, null, 'between_tokens_seconds')), 'between tokens, mean'],
          [time(mean(now, null, 'queue_seconds')), 'in the queue, mean'],
          [bytes(now.state_bytes), 'states running'],
          [bytes(now.prefix_bytes), 'states kept'],
          [now.prompt_tokens_total ? (100 * now.prompt_tokens_reused_total / now.prompt_tokens_total).toFixed(0) + ' %' : '–', 'prompt tokens reused'],
        ];
        $('numbers').replaceChildren(...numbers.map(([value, label]) => {
          const box = document.createElement('div'), b = document.createElement('b'), span = document.createElement('span');
          box.className = 'number'; b.textContent = value; span.textContent = label; box.append(b, span);
          return box;
        }));
        const most = Math.max(1, ...rates);
        $('curve').setAttribute('points', rates.map((r, i) => (120 - rates.length + i) + ',' + (39 - 38 * r / most)).join(' '));
        $('scale').textContent = 'up to ' + most.toFixed(0);
        last = now;
      }
      let lastTime = performance.now();
      async function poll() {
        try {
          const answer = await fetch('metrics', { headers: headers() });
          if (answer.status === 401) throw new Error('API key needed');
          if (!answer.ok) throw new Error('status ' + answer.status);
          const now = performance.now();
          show(parse(await answer.text()), (now - lastTime) / 1000);
          lastTime = now;
          if (!model) {
            const models = await (await fetch('v1/models', { headers: headers() })).json();
            model = models.data[0].id;
            $('model').textContent = model;
            document.title = model + ' · attention serve';
          }
          const health = await (await fetch('health')).json();
          $('state').textContent = health.status; $('state').className = health.status === 'ok' ? '' : 'bad';
        } catch (error) {
          $('state').textContent = error.message; $('state').className = 'bad';
        }
        setTimeout(poll, 1000);
      }
      function add(role, text) {
        const box = document.createElement('p'), b = document.createElement('b'), span = document.createElement('span');
        box.className = 'message'; b.textContent = role; span.textContent = text; box.append(b, span);
        $('log').append(box); $('log').scrollTop = $('log').scrollHeight;
        return span;
      }
      async function send() {
        const text = $('text').value;
        if (!text.trim() || running) return;
        messages.push({ role: 'user', content: text });
        add('user', text);
        $('text').value = '';
        const span = add('assistant', '');
        running = new AbortController();
        $('send').disabled = true; $('stop').disabled = false;
        let content = '', usage = null;
        const begun = performance.now();
        try {
          const answer = await fetch('v1/chat/completions', { method: 'POST', signal: running.signal,
            headers: { 'Content-Type': 'application/json', ...headers() },
            body: JSON.stringify({ model, messages, stream: true, stream_options: { include_usage: true },
              temperature: Number($('temperature').value), max_tokens: Number($('tokens').value) }) });
          if (!answer.ok) throw new Error((await answer.json()).error.message);
          const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
          let rest = '';
          for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            rest += value;
            const events = rest.split('\n\n');
            rest = events.pop();
            for (const event of events) {
              const data = event.slice(6);
              if (data === '[DONE]') continue;
              const part = JSON.parse(data);
              if (part.error) throw new Error(part.error.message);
              if (part.usage) usage = part.usage;
              if (part.choices[0] && part.choices[0].delta.content) content += part.choices[0].delta.content;
              span.textContent = content;
              $('log').scrollTop = $('log').scrollHeight;
            }
          }
        } catch (error) {
          if (error.name !== 'AbortError') { span.className = 'error'; span.textContent = content + '\n' + error.message; }
        }
        if (content) messages.push({ role: 'assistant', content });
        if (usage) $('note').textContent = usage.prompt_tokens + ' tokens read, ' + usage.prompt_tokens_details.cached_tokens
          + ' of them reused; ' + usage.completion_tokens + ' written in ' + time((performance.now() - begun) / 1000);
        running = null;
        $('send').disabled = false; $('stop').disabled = true;
      }
      $('send').onclick = send;
      $('stop').onclick = () => running && running.abort();
      $('clear').onclick = () => { messages.length = 0; $('log').replaceChildren(); };
      $('text').onkeydown = event => { if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); send(); } };
      poll();
      </script>
      </body>
      </html>
      """#
}
