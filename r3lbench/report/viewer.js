"use strict";

// The branch viewer: the attempts at one task as a tree, and a family of them side by side, step by step.
// Groups are read when they are shown, and steps are made when they are scrolled to.
report.viewer = (() => {
  const groups = report.data.recorded;
  const viewer = document.getElementById("viewer");
  if (!groups.length) return null;
  const picks = Object.fromEntries(["run", "update", "group"].map((name) => [name, document.getElementById(`pick-${name}`)]));
  const STEPS_AT_ONCE = 40;
  const LONGEST = 600;
  const DIVIDED = 80;
  const SPECIAL = /^<\|[^|>]*\|>$/;
  let shown = -1;

  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const signed = (value) => (value > 0 ? "+" : "") + +value.toFixed(3);
  const plain = (value) => String(+value.toFixed(3));
  const many = (number, one, more) => `${number} ${number === 1 ? one : more}`;
  const last = (attempt) => attempt.name.split("/").pop();

  // A recorded group, with what follows from it

  function read(index) {
    const group = JSON.parse(document.getElementById(`group-${index}`).textContent);
    const weights = Object.fromEntries(
      Object.entries(group.terms).map(([node, terms]) => [node, terms.reduce((sum, term) => sum + term[2], 0)]),
    );
    const most = Math.max(0, ...Object.values(weights).map(Math.abs)) || 1;
    group.attempts.forEach((attempt, place) => {
      attempt.place = place;
      attempt.states = [attempt.leaf];
      while (group.states[attempt.states[0]][0] !== null) attempt.states.unshift(group.states[attempt.states[0]][0]);
      const base = attempt.base === null ? null : group.attempts[attempt.base];
      // A retry whose state could not be restored shares nothing but the start.
      attempt.from = base === null || attempt.diverged ? 0 : attempt.pivot;
      attempt.depth = base === null ? 0 : base.depth + 1;
      attempt.retries = [];
      attempt.looks = group.reflections.filter((reflection) => reflection.of === place);
      if (base) base.retries.push(attempt);
    });
    for (const attempt of group.attempts) {
      for (const retry of attempt.retries) {
        retry.look = attempt.looks.find((look) => look.told && look.told === retry.told)
          || attempt.looks.find((look) => look.valid && look.pivot === retry.pivot) || null;
      }
    }
    const line = (attempt) => [attempt, ...attempt.retries.flatMap(line)];
    const roots = group.attempts.filter((attempt) => attempt.base === null);
    return { ...group, weights, most, roots, line, order: roots.flatMap(line) };
  }

  function family(group, attempt) {
    let root = attempt;
    while (root.base !== null) root = group.attempts[root.base];
    const all = group.line(root);
    // Attempts that nobody retried are compared with each other.
    return group.order.length === group.roots.length ? group.roots : all;
  }

  // Weights as colours

  function shade(element, group, node) {
    const weight = group.weights[node];
    if (weight === undefined) {
      element.classList.add("masked");
    } else if (weight) {
      const share = 18 + (40 * Math.abs(weight)) / group.most;
      element.style.background = `color-mix(in srgb, var(--${weight > 0 ? "more" : "less"}) ${share.toFixed(1)}%, transparent)`;
    }
  }
  function worth(group, node) {
    const terms = group.terms[node];
    if (!terms) return "not trained";
    const parts = terms.map(([label, kind, weight, elsewhere]) => {
      const how = [kind === "policy" ? "" : kind, elsewhere ? "as if unguided" : ""].filter(Boolean).join(", ");
      return `${label || kind} ${signed(weight)}${how ? ` (${how})` : ""}`;
    });
    return parts.length > 1 ? `weight ${signed(group.weights[node])}: ${parts.join(", ")}` : `weight: ${parts[0]}`;
  }

  // The tree

  function bar(group, attempt, longest) {
    const steps = attempt.states.length - 1;
    const whole = make("span", "bar");
    const prefix = whole.appendChild(make("span", "prefix"));
    prefix.style.width = `${(100 * attempt.from) / longest}%`;
    const own = whole.appendChild(make("span", steps - attempt.from > DIVIDED ? "own" : "own divided"));
    own.style.width = `${(100 * (steps - attempt.from)) / longest}%`;
    own.style.setProperty("--steps", steps - attempt.from);
    let last = null;
    for (let step = attempt.from; step < steps; step++) {
      const node = attempt.turns[step];
      if (last && group.weights[node] === last.weight) {
        last.span.style.flexGrow = ++last.count;
      } else {
        const span = own.appendChild(make("span"));
        span.style.flexGrow = 1;
        shade(span, group, node);
        last = { weight: group.weights[node], span, count: 1 };
      }
    }
    return whole;
  }
  function outcome(attempt) {
    const said = make("span", attempt.success ? "solved" : "failed", attempt.success ? "✓ solved" : "not solved");
    return make("span", "came", said, `, return ${plain(attempt.return)}, score ${plain(attempt.score)}`);
  }
  function tree(group, choose) {
    const list = make("div", "tree");
    list.setAttribute("role", "tree");
    list.setAttribute("aria-label", "Attempts and their retries");
    const longest = Math.max(1, ...group.attempts.map((attempt) => attempt.states.length - 1));
    const items = group.order.map((attempt) => {
      const name = make("span", "name", last(attempt));
      name.style.paddingLeft = `${attempt.depth}rem`;
      const item = make("div", "", name, bar(group, attempt, longest), outcome(attempt));
      item.setAttribute("role", "treeitem");
      item.setAttribute("aria-level", attempt.depth + 1);
      item.tabIndex = -1;
      item.addEventListener("click", () => select(attempt));
      return list.appendChild(item);
    });
    function select(attempt) {
      items.forEach((item, at) => {
        item.setAttribute("aria-selected", group.order[at] === attempt);
        item.tabIndex = group.order[at] === attempt ? 0 : -1;
      });
      choose(attempt);
    }
    list.addEventListener("keydown", (event) => {
      const at = items.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
      if (to !== undefined && items[to]) {
        items[to].focus();
        select(group.order[to]);
      } else if (event.key === "ArrowRight" || event.key === "Enter") {
        viewer.querySelector(".grid [data-row]")?.focus();
      } else if (to === undefined) {
        return;
      }
      event.preventDefault();
    });
    return { list, select };
  }

  // Side by side

  function long(text, className) {
    const element = make("div", className, text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text);
    if (text.length <= LONGEST) return element;
    const button = make("button", "more quiet", `show all ${text.length.toLocaleString("en")} characters`);
    button.type = "button";
    button.addEventListener("click", () => element.replaceChildren(text));
    element.append(document.createElement("br"), button);
    return element;
  }
  function spoken(group, node, otherwise) {
    const said = make("div", "said");
    const tokens = group.tokens[node];
    for (const piece of tokens || [otherwise]) {
      const token = said.appendChild(make("span", SPECIAL.test(piece) ? "token special" : "token", piece));
      shade(token, group, node);
    }
    return make("div", "", said, make("div", "worth", worth(group, node)));
  }
  function place(card, row, column) {
    card.style.gridRow = row;
    card.style.gridColumn = column;
    card.dataset.row = row;
    card.dataset.column = column;
    card.tabIndex = -1;
    return card;
  }
  function step(group, attempt, at) {
    const [, action, observation, reward, valid] = group.states[attempt.states[at + 1]];
    const node = attempt.turns[at];
    const card = make("article", valid ? "card" : "card invalid");
    card.setAttribute("aria-label", `${attempt.name}, step ${at}`);
    const notes = [reward ? `reward ${signed(reward)}` : "", valid ? "" : "not understood"].filter(Boolean).join(", ");
    card.append(make("h4", "", make("span", "", `step ${at}`, make("small", "", last(attempt))), make("span", valid ? "" : "wrong", notes)));
    card.append(spoken(group, node, action));
    const said = (group.tokens[node] || [action]).join("").replace(/<\|[^|>]*\|>/g, "").trim();
    if (said !== action.trim()) card.append(make("div", "acted", make("span", "tag", "action "), long(action, "inline")));
    card.append(long(observation, "seen"));
    return card;
  }
  function reflection(group, look, told) {
    const card = make("article", look && !look.valid ? "card reflection invalid" : "card reflection");
    const back = look?.pivot ? `go back to step ${look.pivot}` : "start over";
    const title = look && look.pivot !== null ? `reflection: ${back}` : "reflection";
    const verdict = look ? (look.valid ? look.outcome.replaceAll("_", " ") : `could not be read: ${look.problem}`) : "";
    card.append(make("h4", "", make("span", "", look ? title : "retry without a reflection of its own"), make("span", look && !look.valid ? "wrong" : "", verdict)));
    if (look) {
      const [node] = look.turns;
      card.append(node === undefined ? long(look.text, "said") : spoken(group, node, look.text));
    }
    if (told) card.append(make("div", "told", make("span", "tag", "told: "), long(told, "inline")));
    card.setAttribute("aria-label", title);
    return card;
  }
  function shared(group, attempt, column) {
    const steps = attempt.from === 1 ? "step 0" : `steps 0 to ${attempt.from - 1}`;
    const note = make("div", "shared", make("span", "", `${steps} as in ${last(group.attempts[attempt.base])}`));
    note.style.gridRow = `${rowOf(0)} / ${rowOf(attempt.from) - 1}`;
    note.style.gridColumn = column + 1;
    return note;
  }
  function leaf(group, attempt) {
    const { feedback, rubrics } = group.leaves[attempt.leaf];
    const card = make("article", "card leaf");
    card.setAttribute("aria-label", `${attempt.name}, how it ended`);
    const end = make("span", attempt.success ? "solved" : "failed", attempt.success ? "✓ solved" : "not solved", make("small", "", last(attempt)));
    card.append(make("h4", "", end, make("span", "", attempt.ended)));
    const facts = make("dl");
    for (const [name, value] of [["return", plain(attempt.return)], ["score", plain(attempt.score)]]) {
      facts.append(make("dt", "", name), make("dd", "", value));
    }
    card.append(facts);
    if (feedback) card.append(long(feedback, "seen"));
    if (rubrics.length) {
      card.append(make("ul", "rubrics", ...rubrics.map(([name, met, weight]) => {
        const item = make("li", met ? "met" : "unmet", `${met ? "✓" : "✗"} ${name}${weight === 1 ? "" : ` (${plain(weight)})`}`);
        item.setAttribute("aria-label", `${met ? "met" : "not met"}: ${name}`);
        return item;
      })));
    }
    return card;
  }

  // Rows of the grid: 1 the heads, then for every step one row for reflections that lead there and one for the step.
  const rowOf = (at) => 2 * at + 3;

  function columns(group, chosen) {
    const members = family(group, chosen);
    const region = make("div", "columns");
    region.setAttribute("role", "group");
    region.setAttribute("aria-label", "Attempts side by side");
    const grid = region.appendChild(make("div", "grid"));
    grid.style.gridTemplateColumns = `repeat(${members.length}, minmax(min(17rem, 78vw), 1fr))`;
    members.forEach((attempt, at) => {
      const head = grid.appendChild(make("div", attempt === chosen ? "column-head chosen" : "column-head", make("strong", "", last(attempt)), " ", outcome(attempt)));
      head.style.gridRow = 1;
      head.style.gridColumn = at + 1;
    });
    const longest = Math.max(0, ...members.map((attempt) => attempt.states.length - 1));
    let done = 0;
    function more() {
      const until = Math.min(done + STEPS_AT_ONCE, longest + 1);
      members.forEach((attempt, column) => {
        const steps = attempt.states.length - 1;
        for (let at = Math.max(done, attempt.from); at < until && at < steps; at++) {
          if (at === attempt.from && attempt.base !== null) {
            grid.append(place(reflection(group, attempt.look, attempt.told), rowOf(at) - 1, column + 1));
            if (at > 0) grid.append(shared(group, attempt, column));
          }
          grid.append(place(step(group, attempt, at), rowOf(at), column + 1));
        }
        for (const from of new Set(attempt.retries.map((retry) => retry.from).filter((from) => from >= done && from < until))) {
          const leaving = attempt.retries.filter((retry) => retry.from === from).map((retry) => retry.name.split(/[./]/).pop());
          const note = make("div", "leaves", `${leaving.join(", ")} ${leaving.length > 1 ? "leave" : "leaves"} here`);
          note.style.gridRow = rowOf(from) - 1;
          note.style.gridColumn = column + 1;
          grid.append(note);
        }
        if (steps >= done && steps < until) {
          grid.append(place(leaf(group, attempt), rowOf(steps), column + 1));
          const used = new Set(attempt.retries.map((retry) => retry.look));
          attempt.looks.filter((look) => !used.has(look)).forEach((look, extra) => {
            grid.append(place(reflection(group, look, ""), rowOf(steps) + 1 + extra, column + 1));
          });
        }
      });
      done = until;
      if (done > longest) return;
      const end = grid.appendChild(make("div", "end"));
      end.style.gridRow = rowOf(done) + 1000;
      new IntersectionObserver((seen, watch) => {
        if (!seen.some((entry) => entry.isIntersecting)) return;
        watch.disconnect();
        end.remove();
        more();
      }, { rootMargin: "600px" }).observe(end);
    }
    more();
    region.addEventListener("keydown", (event) => {
      const { row, column } = document.activeElement.dataset;
      if (row === undefined) return;
      const cards = [...grid.querySelectorAll("[data-row]")].map((card) => [card, Number(card.dataset.row), Number(card.dataset.column)]);
      const [r, c] = [Number(row), Number(column)];
      const below = cards.filter(([, y, x]) => x === c && y > r).sort((a, b) => a[1] - b[1]);
      const above = cards.filter(([, y, x]) => x === c && y < r).sort((a, b) => b[1] - a[1]);
      const beside = (side) => cards.filter(([, , x]) => x === c + side).sort((a, b) => Math.abs(a[1] - r) - Math.abs(b[1] - r));
      const to = { ArrowDown: below, ArrowUp: above, ArrowRight: beside(1), ArrowLeft: beside(-1) }[event.key];
      if (event.key === "Escape") viewer.querySelector('[aria-selected="true"]').focus();
      else if (to?.length) to[0][0].focus();
      else if (!to) return;
      event.preventDefault();
    });
    return region;
  }

  // A group

  function show(index) {
    shown = index;
    const about = groups[index];
    const group = read(index);
    const side = make("div");
    const { list, select } = tree(group, (attempt) => side.replaceChildren(columns(group, attempt)));
    const masked = make("i", "masked");
    const legend = make("p", "scale", make("span", "", "weight in training ", signed(-group.most), make("i"), signed(group.most)), make("span", "", masked, "not trained"));
    const head = make("div", "about", make("h3", "", `${about.task}${group.type ? `, ${group.type}` : ""}`), legend);
    viewer.replaceChildren(head, long(group.states[0][2], "task"), list, side);
    const helped = (attempt) => attempt.retries.some((retry) => retry.return > attempt.return);
    select(group.order.find(helped) || group.order.find((attempt) => attempt.retries.length) || group.order[0]);
    fill();
  }

  // What can be picked: runs, then the updates of one, then its groups

  function fill() {
    const here = groups[shown];
    const unique = (values) => [...new Set(values)];
    const indexes = groups.map((_, index) => index);
    const ofRun = indexes.filter((index) => groups[index].path === here.path && groups[index].section === here.section);
    const ofUpdate = ofRun.filter((index) => groups[index].update === here.update);
    const first = (test) => indexes.find((index) => test(groups[index]));
    const runs = unique(groups.map((of) => `${of.section}\n${of.path}`)).map((key) => first((of) => `${of.section}\n${of.path}` === key));
    const updates = unique(ofRun.map((index) => groups[index].update)).map((update) => ofRun.find((index) => groups[index].update === update));
    const options = {
      run: runs.map((index) => [index, `${groups[index].env}: ${groups[index].row}, seed ${groups[index].seed}`, ofRun.includes(index)]),
      update: updates.map((index) => [index, groups[index].update, groups[index].update === here.update]),
      group: ofUpdate.map((index) => [index, `${groups[index].task}: ${many(groups[index].attempts, "attempt", "attempts")}, ${many(groups[index].retries, "retry", "retries")}, ${groups[index].solved} solved`, index === shown]),
    };
    for (const [name, of] of Object.entries(options)) {
      picks[name].replaceChildren(...of.map(([value, text, selected]) => new Option(text, value, selected, selected)));
    }
    document.getElementById("previous").disabled = shown === 0;
    document.getElementById("next").disabled = shown === groups.length - 1;
  }

  // Where a retry from within an attempt helped there is most to see, then where one from its start did.
  function telling(test) {
    const worth = ({ mended }) => (mended === null ? 0 : mended > 0 ? 2 : 1);
    const indexes = groups.map((_, index) => index).filter((index) => test(groups[index]));
    return indexes.reduce((best, index) => (worth(groups[index]) > worth(groups[best]) ? index : best));
  }

  for (const pick of Object.values(picks)) pick.addEventListener("change", () => show(Number(pick.value)));
  document.getElementById("previous").addEventListener("click", () => show(shown - 1));
  document.getElementById("next").addEventListener("click", () => show(shown + 1));
  for (const link of document.querySelectorAll("[data-branches]")) {
    link.addEventListener("click", () => show(telling((of) => of.section === link.dataset.branches)));
  }
  new IntersectionObserver((seen, watch) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    if (shown < 0) show(telling(() => true));
  }, { rootMargin: "300px" }).observe(viewer);

  return { show };
})();
