// xterm.js writes its colours into <style> elements and style attributes, and both are refused by our Content-Security-Policy. It lets
// its document be chosen, so it gets one that makes two kinds of elements differently: a <style> hands its text to a constructed sheet,
// and a <span> takes a style attribute through the CSSOM. Neither is inline style to a browser.

function styleElement(): HTMLElement {
  const element = document.createElement('bailiff-style');
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, 'textContent', { set: (text: string) => sheet.replaceSync(text), get: () => '' });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    HTMLElement.prototype.remove.call(element);
  };
  return element;
}

function spanElement(): HTMLElement {
  const element = document.createElement('span');
  element.setAttribute = (name: string, value: string) => {
    if (name === 'style') element.style.cssText = value;
    else HTMLElement.prototype.setAttribute.call(element, name, value);
  };
  return element;
}

interface RowFactory {
  _document: Document;
}

/** The part of xterm.js that makes the rows takes the page's document, whatever was chosen. Where its inside is another one day, the colours
 *  that a program mixes itself are lost, and a test of the pages says so. */
export function useForRows(terminal: object, chosen: Document): void {
  const inside = terminal as { _core?: { _renderService?: { _renderer?: { value?: { _rowFactory?: RowFactory } } } } };
  const rows = inside._core?._renderService?._renderer?.value?._rowFactory;
  if (rows !== undefined) rows._document = chosen;
}

/** Everything else is the real document's. */
export function documentWithoutInlineStyle(): Document {
  return new Proxy(document, {
    get(target, property) {
      if (property === 'createElement')
        return (name: string) => (name === 'style' ? styleElement() : name === 'span' ? spanElement() : target.createElement(name));
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value as (...a: unknown[]) => unknown).bind(target) : value;
    },
    set: (target, property, value) => Reflect.set(target, property, value, target),
  });
}
