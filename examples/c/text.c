/* Functions over strings. The caller writes each argument into memory that it takes from malloc, as UTF-8 that ends
 * with a zero byte; what is returned is read the same way. Every call runs in an instance of its own, so nothing has
 * to be freed. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

static unsigned smallest(unsigned a, unsigned b, unsigned c) {
    unsigned two = a < b ? a : b;
    return two < c ? two : c;
}

/* How many bytes have to be put in, taken out or changed to make one text of the other (Levenshtein). */
EXPORT("distance") uint32_t distance(const char *from, const char *to) {
    size_t columns = strlen(to) + 1;
    unsigned *row = malloc(columns * sizeof *row);
    if (row == NULL)
        abort();
    for (size_t column = 0; column < columns; column++)
        row[column] = column;
    for (; *from; from++) {
        unsigned diagonal = row[0]++;
        for (size_t column = 1; column < columns; column++) {
            unsigned above = row[column];
            row[column] = smallest(above + 1, row[column - 1] + 1, diagonal + (*from != to[column - 1]));
            diagonal = above;
        }
    }
    return row[columns - 1];
}

static char turned(char letter, char first, int places) {
    return first + ((letter - first + places) % 26 + 26) % 26;
}

/* The text with its letters from a to z moved along the alphabet; everything else stays. */
EXPORT("caesar") char *caesar(const char *text, int32_t places) {
    char *moved = strdup(text);
    if (moved == NULL)
        abort();
    for (char *letter = moved; *letter; letter++) {
        if (*letter >= 'a' && *letter <= 'z')
            *letter = turned(*letter, 'a', places % 26);
        else if (*letter >= 'A' && *letter <= 'Z')
            *letter = turned(*letter, 'A', places % 26);
    }
    return moved;
}
