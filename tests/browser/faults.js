// What is wrong with a page as it is shown and axe-core does not look for, as sentences. See faults.py.
([leastTarget, screen]) => {
  const faults = [];
  const told = element => `${element.tagName.toLowerCase()}${element.id && "#" + element.id} “${(element.textContent || "").trim().slice(0, 40)}”`;
  const all = query => [...document.querySelectorAll(query)];
  const isSeen = element => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0 && !element.closest(".visually-hidden");
  const check = (elements, isGood, words) => elements.filter(element => !isGood(element)).forEach(element => faults.push(`${words}: ${told(element)}`));

  check(all("svg"), drawing => drawing.ariaHidden === "true" || drawing.ariaLabel, "a drawing without words");
  const ids = all("[id]").map(element => element.id);
  ids.filter((id, place) => ids.indexOf(id) !== place).forEach(id => faults.push(`two elements with the id ${id}`));
  check(all("a[href^='#']"), link => document.querySelector(link.getAttribute("href")), "a link to no place");
  check(all("label[for], [aria-labelledby], [aria-describedby]"), element => ["for", "aria-labelledby", "aria-describedby"].every(name => !element.getAttribute(name) || document.getElementById(element.getAttribute(name))), "words that are not there");
  const levels = all("h1, h2, h3, h4").map(heading => Number(heading.tagName[1]));
  if (levels[0] !== 1 || levels.filter(level => level === 1).length !== 1) faults.push(`headings begin ${levels.slice(0, 3)}, not with the only h1`);

  const values = colour => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const over = (above, below) => [0, 1, 2].map(i => above[i] * above[3] + below[i] * (1 - above[3]));
  const ground = element => {
    const layers = [];
    for (; element; element = element.parentElement) layers.push(values(getComputedStyle(element).backgroundColor));
    return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255]);
  };
  const contrast = element => {
    const style = getComputedStyle(element), below = ground(element);
    const ink = over(values(element.closest("svg") ? style.fill : style.color), below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const hasWords = element => [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  check(all("body *").filter(element => isSeen(element) && hasWords(element) && !element.closest("title, script, noscript, option")), element => contrast(element) >= 4.5, "faint words");

  check(all("button, .quiet-button, input:not([type=hidden]):not([type=checkbox]), label:has([type=checkbox]), summary, nav a, a.chip").filter(isSeen), element => element.getBoundingClientRect().height >= leastTarget - 0.5, "too small to touch");
  const width = document.documentElement.scrollWidth;
  if (width > screen) faults.push(`${width} px wide on a screen of ${screen}`);
  return faults;
}
