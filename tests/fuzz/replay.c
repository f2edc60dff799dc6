/* replay.c: what takes libFuzzer's place where inputs are only to be replayed: the files and directories named. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int replay_file(const char *path)
{
    unsigned char *data;
    size_t size;
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        perror(path);
        return 0;
    }
    fseek(file, 0, SEEK_END);
    size = (size_t)ftell(file);
    rewind(file);
    data = malloc(size + 1); /* just so large that the sanitizer sees what is read behind it */
    if (data == NULL || fread(data, 1, size, file) != size) {
        perror(path);
        exit(2);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

static int replay(const char *path)
{
    char entry_path[4096];
    struct dirent *entry;
    int count = 0;
    DIR *directory = opendir(path);

    if (directory == NULL) {
        return replay_file(path);
    }
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(entry_path, sizeof entry_path, "%s/%s", path, entry->d_name);
            count += replay_file(entry_path);
        }
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;

    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        count += replay(argv[i]);
    }
    printf("%d inputs\n", count);
    return count == 0;
}
