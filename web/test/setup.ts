// The part of a page that code without elements asks for: whether somebody looks.
Object.assign(globalThis, { document: Object.assign(new EventTarget(), { hidden: false }) });
