// Return what on this page a keyboard, a screen reader or weak eyes would stumble over, as sentences.
() => {
  const found = [];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const place = (element) =>
    `${element.tagName.toLowerCase()}${element.id && `#${element.id}`}.${element.className} "${element.textContent.trim().slice(0, 30)}"`;
  const referred = (element, attribute) =>
    (element.getAttribute(attribute) ?? "").split(" ").filter(Boolean).map((id) => document.getElementById(id));
  const name = (element) =>
    element.getAttribute("aria-label") ??
    (referred(element, "aria-labelledby")[0] ?? element.labels?.[0] ?? element).textContent.trim();

  for (const field of document.querySelectorAll("input, select, textarea")) {
    const labelled = field.labels.length > 0 || field.hasAttribute("aria-label") || field.hasAttribute("aria-labelledby");
    if (!labelled || name(field) === "") found.push(`no label: ${place(field)}`);
  }
  for (const control of document.querySelectorAll("button, a, [role=tab], [role=group], dialog, progress, nav, aside")) {
    if (seen(control) && name(control) === "") found.push(`no name: ${place(control)}`);
  }
  for (const image of document.images) if (!image.hasAttribute("alt")) found.push(`no alt: ${image.src}`);
  for (const attribute of ["aria-labelledby", "aria-controls", "aria-describedby"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      if (referred(element, attribute).includes(null)) found.push(`${attribute} leads nowhere: ${place(element)}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids.filter((each, at) => ids.indexOf(each) !== at)) found.push(`id twice: ${id}`);
  for (const element of document.querySelectorAll("*")) {
    if (element.onclick !== null || element.tabIndex > 0) found.push(`odd for the keyboard: ${place(element)}`);
  }
  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.querySelector("main") || !document.title) found.push("the page has no main part or no title");

  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => top.slice(0, 3).map((part, at) => (part * top[3] + below[at] * (255 - top[3])) / 255);
  const behind = (element) => {
    if (element === null) return rgba(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 255 ? own.slice(0, 3) : over(own, behind(element.parentElement));
  };
  const light = (color) => {
    const linear = color.map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const skipped = element.closest("[aria-disabled=true], :disabled, .spoken, .skip, noscript, option");
    if (walker.currentNode.textContent.trim() === "" || skipped || !seen(element)) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const lights = [light(over(rgba(style.color), ground)), light(ground)].sort((one, other) => other - one);
    const ratio = (lights[0] + 0.05) / (lights[1] + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${place(element)}`);
  }
  return found;
};
