// What a browser keeps for these pages. One that keeps nothing, or may not, is no fault: reading finds nothing then.
type Place = 'local' | 'session';

const storage = (place: Place): Storage => (place === 'local' ? localStorage : sessionStorage); // may throw where it is refused

export function readKept(place: Place, name: string): string | null {
  try {
    return storage(place).getItem(name);
  } catch {
    return null;
  }
}

/** An empty text is forgotten. */
export function keep(place: Place, name: string, text: string): void {
  try {
    if (text === '') storage(place).removeItem(name);
    else storage(place).setItem(name, text);
  } catch {
    // It lives as long as the page.
  }
}
