// What the playground begins with. A language that has none here begins with the catalogue's own hello program.
const SAMPLES: Record<string, string> = {
  python: `import sys

name = sys.stdin.readline().strip() or "world"
print(f"Hello, {name}!")
for n in range(1, 6):
    print(f"\\x1b[3{n}m{n} squared is {n * n}\\x1b[0m")
`,
  cpp: `#include <iostream>
#include <string>

int main() {
  std::string name;
  if (!std::getline(std::cin, name) || name.empty()) name = "world";
  std::cout << "Hello, " << name << "!\\n";
}
`,
  c: `#include <stdio.h>
#include <string.h>

int main(void) {
  char name[100] = "";
  if (fgets(name, sizeof name, stdin)) name[strcspn(name, "\\n")] = 0;
  printf("Hello, %s!\\n", *name ? name : "world");
}
`,
  javascript: `const name = require('fs').readFileSync(0, 'utf8').trim() || 'world';
console.log(\`Hello, \${name}!\`);
`,
  java: `import java.util.Scanner;

public class Main {
  public static void main(String[] args) {
    Scanner in = new Scanner(System.in);
    String name = in.hasNextLine() ? in.nextLine() : "world";
    System.out.println("Hello, " + name + "!");
  }
}
`,
  bash: `read -r name
echo "Hello, \${name:-world}!"
`,
};

export const FIRST_LANGUAGE = 'python';
export const FIRST_STDIN = 'world\n';

export function sampleOf(language: { name: string; hello?: string | undefined }): string {
  return SAMPLES[language.name] ?? language.hello ?? '';
}
